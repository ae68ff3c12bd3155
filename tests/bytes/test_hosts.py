"""Connect strings: every server with its port, the chroot, and the errors for text that is not one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zkwire.hosts import Host, HostsError, parse_hosts


@pytest.mark.parametrize(
    ("text", "hosts", "chroot"),
    [
        ("h1", [Host("h1", 2181)], ""),
        ("h1:2182", [Host("h1", 2182)], ""),
        ("h1:1,h2,h3:65535", [Host("h1", 1), Host("h2", 2181), Host("h3", 65535)], ""),
        (" h1:1 , h2 ", [Host("h1", 1), Host("h2", 2181)], ""),
        ("[::1]", [Host("::1", 2181)], ""),
        ("[::1]:2182", [Host("::1", 2182)], ""),
        ("[fe80::1%eth0]:2182,10.0.0.1", [Host("fe80::1%eth0", 2182), Host("10.0.0.1", 2181)], ""),
        ("h1/", [Host("h1", 2181)], ""),
        ("h1,h2/app", [Host("h1", 2181), Host("h2", 2181)], "/app"),
        ("h1:2181,h2:2181,[::1]:2181/chroot/b", [Host("h1", 2181), Host("h2", 2181), Host("::1", 2181)], "/chroot/b"),
        ("h1/app ", [Host("h1", 2181)], "/app"),
        ("\th1 /app\n", [Host("h1", 2181)], "/app"),
        ("h1,h2,", [Host("h1", 2181), Host("h2", 2181)], ""),
        ("h1:1, /app", [Host("h1", 1)], "/app"),
        ("h1./app", [Host("h1.", 2181)], "/app"),
        ("zk_1.example.com,bücher.example", [Host("zk_1.example.com", 2181), Host("bücher.example", 2181)], ""),
    ],
)
def test_parse_gives_hosts_and_chroot(text: str, hosts: list[Host], chroot: str) -> None:
    assert parse_hosts(text) == (hosts, chroot)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' in '': expected a host name or address, got ''"),
        ("/app", "'' in '/app': expected a host name or address, got ''"),
        (",", "'' in ',': expected a host name or address, got ''"),
        (",h1", "'' in ',h1': expected a host name or address, got ''"),
        ("h1,,h2", "'' in 'h1,,h2': expected a host name or address, got ''"),
        ("h1,,", "'' in 'h1,,': expected a host name or address, got ''"),
        (":2181", "':2181' in ':2181': expected a host name or address, got ''"),
        ("h@1", "'h@1' in 'h@1': expected a host name or address, got 'h@1'"),
        ("h1]", "'h1]' in 'h1]': expected a host name or address, got 'h1]'"),
        ("h1%eth0", "'h1%eth0' in 'h1%eth0': expected a host name or address, got 'h1%eth0'"),
        ("h1 h2", "'h1 h2' in 'h1 h2': expected host or host:port; servers are separated by commas"),
        ("h1:1 h2:2", "'h1:1 h2:2' in 'h1:1 h2:2': expected host or host:port; servers are separated by commas"),
        ("h1;h2", "'h1;h2' in 'h1;h2': expected host or host:port; servers are separated by commas"),
        ("h1:1;h2:2/a", "'h1:1;h2:2' in 'h1:1;h2:2/a': expected host or host:port; servers are separated by commas"),
        ("h1|h2", "'h1|h2' in 'h1|h2': expected host or host:port; servers are separated by commas"),
        ("[]:2181", "'[]:2181' in '[]:2181': expected an IPv6 address in the brackets, got ''"),
        ("[h1]:2181", "'[h1]:2181' in '[h1]:2181': expected an IPv6 address in the brackets, got 'h1'"),
        ("[[::1]", "'[[::1]' in '[[::1]': expected an IPv6 address in the brackets, got '[::1'"),
        ("[fe80::1%]", "'[fe80::1%]' in '[fe80::1%]': expected an IPv6 address in the brackets, got 'fe80::1%'"),
        ("[::1", "'[::1' in '[::1': expected [address] or [address]:port"),
        ("[::1]2181", "'[::1]2181' in '[::1]2181': expected [address] or [address]:port"),
        ("h1,::1:2181", "'::1:2181' in 'h1,::1:2181': an IPv6 address needs brackets, as in [::1]:2181"),
        ("::1", "'::1' in '::1': an IPv6 address needs brackets, as in [::1]:2181"),
        ("h1:", "'h1:' in 'h1:': expected a port from 1 to 65535, got ''"),
        ("[::1]:", "'[::1]:' in '[::1]:': expected a port from 1 to 65535, got ''"),
        ("h1:0", "'h1:0' in 'h1:0': expected a port from 1 to 65535, got '0'"),
        ("h1:65536", "'h1:65536' in 'h1:65536': expected a port from 1 to 65535, got '65536'"),
        ("h1:002181", "'h1:002181' in 'h1:002181': expected a port from 1 to 65535, got '002181'"),
        ("h1:-1", "'h1:-1' in 'h1:-1': expected a port from 1 to 65535, got '-1'"),
        ("h1:http", "'h1:http' in 'h1:http': expected a port from 1 to 65535, got 'http'"),
        ("h1:\u0661", "'h1:\u0661' in 'h1:\u0661': expected a port from 1 to 65535, got '\u0661'"),
        ("h1:\u00b2", "'h1:\u00b2' in 'h1:\u00b2': expected a port from 1 to 65535, got '\u00b2'"),
        ("zk://h1:2181/app", "'zk://h1:2181/app': expected host:port,host:port/chroot, got a URL: leave out zk://"),
        (
            "h1/app,h2/app",
            "'h1/app,h2/app': expected one chroot, after the last server, and no comma in it, got '/app,h2/app'",
        ),
        ("h1/app,h2", "'h1/app,h2': expected one chroot, after the last server, and no comma in it, got '/app,h2'"),
        ("h1/app/", "chroot of 'h1/app/': path '/app/' ends with '/'"),
        ("h1//", "chroot of 'h1//': path '//' ends with '/'"),
        ("h1/a/../b", "chroot of 'h1/a/../b': path '/a/../b' has a component '..'"),
    ],
)
def test_parse_names_what_is_wrong_in_a_bad_string(text: str, message: str) -> None:
    with pytest.raises(HostsError) as caught:
        parse_hosts(text)
    assert str(caught.value) == message


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.text(st.sampled_from("ab1:,[]/ .9"), max_size=12) | st.text(max_size=12))
def test_parse_of_any_text_gives_hosts_or_hosts_error(text: str) -> None:
    try:
        hosts, chroot = parse_hosts(text)
    except HostsError:
        return
    assert all(host.name and 0 < host.port < 65536 for host in hosts)
    assert parse_hosts(",".join(map(str, hosts)) + chroot) == (hosts, chroot)


def test_parse_refuses_a_port_of_more_digits_than_python_would_convert() -> None:
    with pytest.raises(HostsError, match="expected a port from 1 to 65535"):
        parse_hosts("h1:" + "9" * 5000)


@pytest.mark.parametrize("text", ["h1:2181", "[::1]:2181"])
def test_host_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_hosts(text)[0][0]) == text
