import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.retry.RetryOneTime;

/**
 * Curator's recipes as contenders, for the tests: java Contender.java CONNECT_STRING SESSION_TIMEOUT_MS.
 *
 * On stdin: "enter KIND ID PATH", "leave ID". On stdout, with the time of CLOCK_MONOTONIC in nanoseconds:
 * "leading ID TIME" when leadership starts, "stopped ID TIME" before it is given up, "left ID TIME" when the session is
 * closed, "failed ID TIME". Every contender has a client, and so a session, of its own. The end of stdin ends the program.
 */
public final class Contender {
    private static final Map<String, Contender> ALL = new ConcurrentHashMap<>();

    private final String id;
    private final CuratorFramework client;
    private final CountDownLatch leave = new CountDownLatch(1);

    private Contender(String id, CuratorFramework client) {
        this.id = id;
        this.client = client;
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("leave")) {
                ALL.get(words[1]).leave.countDown();
                continue;
            }
            CuratorFramework client = CuratorFrameworkFactory.newClient(
                    arguments[0], Integer.parseInt(arguments[1]), 15_000, new RetryOneTime(100));
            Contender contender = new Contender(words[2], client);
            ALL.put(contender.id, contender);
            Thread thread = new Thread(() -> contender.run(words[1], words[3]), contender.id);
            thread.setDaemon(true);
            thread.start();
        }
        Runtime.getRuntime().halt(0); // as a crash: no session is closed
    }

    private void say(String what) {
        String line = what + " " + id + " " + System.nanoTime();
        synchronized (System.out) {
            System.out.println(line);
            System.out.flush();
        }
    }

    private void run(String kind, String path) {
        try {
            client.start();
            switch (kind) {
                case "selector" -> select(path);
                case "latch" -> latch(path);
                case "mutex" -> lock(new InterProcessMutex(client, path));
                case "read" -> lock(new InterProcessReadWriteLock(client, path).readLock());
                case "write" -> lock(new InterProcessReadWriteLock(client, path).writeLock());
                case "semaphore" -> {
                    InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, path, 1);
                    var lease = semaphore.acquire();
                    lead();
                    semaphore.returnLease(lease);
                }
                default -> throw new IllegalArgumentException(kind);
            }
            client.close();
            say("left");
        } catch (Throwable error) {
            error.printStackTrace();
            say("failed");
        }
    }

    /** What the leader does. */
    private void lead() throws InterruptedException {
        say("leading");
        try {
            leave.await();
        } finally {
            say("stopped");
        }
    }

    private void lock(InterProcessLock lock) throws Exception {
        lock.acquire();
        try {
            lead();
        } finally {
            lock.release();
        }
    }

    private void select(String path) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        LeaderSelector selector = new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework unused) throws Exception {
                try {
                    lead();
                } finally {
                    done.countDown();
                }
            }
        });
        selector.setId(id);
        selector.start();
        done.await();
        selector.close(); // interrupts a release under way, which Curator then does in the background
    }

    private void latch(String path) throws Exception {
        LeaderLatch latch = new LeaderLatch(client, path, id);
        latch.addListener(new LeaderLatchListener() {
            @Override
            public void isLeader() {
                say("leading");
            }

            @Override
            public void notLeader() {
                say("stopped");
            }
        });
        latch.start();
        leave.await();
        // With NOTIFY_LEADER the listener hears of the end after the znode's deletion has been asked for: too late.
        say("stopped");
        latch.close(LeaderLatch.CloseMode.SILENT);
    }
}
