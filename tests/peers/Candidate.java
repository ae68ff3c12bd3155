import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.retry.RetryOneTime;

/**
 * Curator's recipes as candidates: java Candidate CONNECT_STRING SESSION_TIMEOUT_MS; see tests/peers/process.py.
 *
 * Recipes: "selector", "mutex", "latch"; and, for their names, "read", "write", "semaphore".
 */
public final class Candidate {
    private static final Map<String, Candidate> ALL = new ConcurrentHashMap<>();

    private final String id;
    private final CuratorFramework client;
    private final CountDownLatch leave = new CountDownLatch(1);

    private Candidate(String id, CuratorFramework client) {
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
            Candidate candidate = new Candidate(words[2], client);
            ALL.put(candidate.id, candidate);
            boolean looks = words[0].equals("look");
            Thread thread = new Thread(() -> candidate.run(looks, words[1], words[3]), candidate.id);
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

    private void run(boolean looks, String recipe, String path) {
        try {
            client.start();
            if (looks) {
                look(recipe, path);
            } else {
                takePart(recipe, path);
            }
            client.close();
            say("left");
        } catch (Throwable error) {
            error.printStackTrace();
            say("failed");
        }
    }

    private void takePart(String recipe, String path) throws Exception {
        switch (recipe) {
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
            default -> throw new IllegalArgumentException(recipe);
        }
    }

    private void look(String recipe, String path) throws Exception {
        Collection<Participant> all = recipe.equals("latch")
                ? new LeaderLatch(client, path).getParticipants()
                : new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
                    @Override
                    public void takeLeadership(CuratorFramework unused) {}
                }).getParticipants();
        Stream<Participant> leaderFirst = Stream.concat(
                all.stream().filter(Participant::isLeader), all.stream().filter(one -> !one.isLeader()));
        say("saw:" + leaderFirst.map(Participant::getId).collect(Collectors.joining(",")));
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
