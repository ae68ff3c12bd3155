// go-zookeeper in the scenarios of benchmarks/scenarios.py; run by benchmarks/peers/compiled.py.
// 500 at a time: 500 goroutines.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"
)

type quiet struct{}

func (quiet) Printf(string, ...interface{}) {}

var (
	hosts          = strings.Split(os.Args[1], ",")
	scenario       = os.Args[2]
	repetitions    = atoi(os.Args[3])
	warmUp         = atoi(os.Args[4])
	timeout        = time.Duration(atoi(os.Args[5])) * time.Millisecond
	cpu, cpuBefore float64
	before         time.Time
	laps           []float64
	batch          = 1
)

func atoi(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(name string) int { return atoi(os.Getenv(name)) }

func open() *zk.Conn {
	conn, events, err := zk.Connect(hosts, timeout, func(c *zk.Conn) { c.SetLogger(quiet{}) })
	check(err)
	for event := range events {
		if event.State == zk.StateHasSession {
			break
		}
	}
	return conn
}

func cpuTime() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}

func begin() {
	cpuBefore = cpuTime()
	before = time.Now()
}

func lap() {
	after := time.Now()
	laps = append(laps, after.Sub(before).Seconds())
	before = after
}

func end() { cpu += cpuTime() - cpuBefore }

func report() {
	sum := 0.0
	for _, lap := range laps {
		sum += lap
	}
	sort.Float64s(laps)
	p99 := int(float64(len(laps)) * 0.99)
	if p99 >= len(laps) {
		p99 = len(laps) - 1
	}
	operations := float64(len(laps) * batch)
	check(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"cpu": cpu / operations * 1e6, "rate": operations / sum,
		"median": laps[len(laps)/2] * 1e6, "p99": laps[p99] * 1e6,
	}))
}

func atATime(one func()) {
	var group sync.WaitGroup
	group.Add(batch)
	for i := 0; i < batch; i++ {
		go func() {
			one()
			group.Done()
		}()
	}
	group.Wait()
}

func repetition(conn *zk.Conn) func() {
	small, large := os.Getenv("SMALL"), os.Getenv("LARGE")
	smallData, largeData := make([]byte, number("SMALL_SIZE")), make([]byte, number("LARGE_SIZE"))
	get := func() { _, _, err := conn.Get(small); check(err) }
	set := func() { _, err := conn.Set(small, smallData, -1); check(err) }
	switch scenario {
	case "get_data-serial":
		return get
	case "get_data-500":
		batch = number("BATCH")
		return func() { atATime(get) }
	case "set_data-500":
		batch = number("BATCH")
		return func() { atATime(set) }
	case "get_data-1MB":
		return func() { _, _, err := conn.Get(large); check(err) }
	case "set_data-1MB":
		return func() { _, err := conn.Set(large, largeData, -1); check(err) }
	case "create":
		path, acl := os.Getenv("NEW")+"/n-", zk.WorldACL(zk.PermAll)
		return func() {
			_, err := conn.Create(path, smallData, zk.FlagEphemeral|zk.FlagSequence, acl)
			check(err)
		}
	case "get_children-10000":
		return func() { _, _, err := conn.Children(os.Getenv("PARENT")); check(err) }
	case "connect":
		return func() { open().Close() }
	}
	fmt.Fprintln(os.Stderr, "no scenario", scenario)
	os.Exit(1)
	return nil
}

func watches(conn *zk.Conn) {
	batch = number("WATCHES")
	for i := 0; i <= repetitions; i++ {
		events := make([]<-chan zk.Event, batch)
		var group sync.WaitGroup
		group.Add(batch)
		for j := range events {
			go func(j int) {
				_, _, event, err := conn.GetW(fmt.Sprintf("%s/w%04d", os.Getenv("WATCHED"), j))
				check(err)
				events[j] = event
				group.Done()
			}(j)
		}
		group.Wait()
		fmt.Println("armed")
		begin()
		for _, event := range events {
			<-event
		}
		lap()
		end()
		if i == 0 {
			cpu, laps = 0, nil
		}
	}
}

func main() {
	var conn *zk.Conn
	if scenario != "connect" {
		conn = open()
	}
	switch scenario {
	case "idle":
		fmt.Println("idle")
		select {}
	case "watches-1000":
		watches(conn)
	default:
		one := repetition(conn)
		for i := 0; i < warmUp; i++ {
			one()
		}
		begin()
		for i := 0; i < repetitions; i++ {
			one()
			lap()
		}
		end()
	}
	report()
	if conn != nil {
		conn.Close()
	}
}
