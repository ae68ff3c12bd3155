/* The C client in the scenarios of benchmarks/scenarios.py; run by benchmarks/peers/compiled.py. */

#define THREADED
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static const char *hosts;
static int repetitions, warm_up, timeout_ms;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, left;

static void fail(const char *what, int code) {
    fprintf(stderr, "%s: %s\n", what, zerror(code));
    exit(1);
}

static void watcher(zhandle_t *zk, int type, int state, const char *path, void *context) {
    pthread_mutex_lock(&lock);
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE) connected = 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void one_less(void) {
    pthread_mutex_lock(&lock);
    if (--left == 0) pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void expect(int count) {
    pthread_mutex_lock(&lock);
    left = count;
    pthread_mutex_unlock(&lock);
}

static void wait_none_left(void) {
    pthread_mutex_lock(&lock);
    while (left > 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void got(int code, const char *data, int length, const struct Stat *stat, const void *context) {
    if (code != ZOK) fail("get", code);
    one_less();
}

static void was_set(int code, const struct Stat *stat, const void *context) {
    if (code != ZOK) fail("set", code);
    one_less();
}

static void fired(zhandle_t *zk, int type, int state, const char *path, void *context) {
    if (type == ZOO_CHANGED_EVENT) one_less();
}

static zhandle_t *open_session(void) {
    connected = 0;
    zhandle_t *zk = zookeeper_init(hosts, watcher, timeout_ms, NULL, NULL, 0);
    if (zk == NULL) { perror("zookeeper_init"); exit(1); }
    pthread_mutex_lock(&lock);
    while (!connected) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return zk;
}

static const char *text(const char *name) {
    const char *value = getenv(name);
    if (value == NULL) { fprintf(stderr, "no %s in the environment\n", name); exit(1); }
    return value;
}

static int number(const char *name) { return atoi(text(name)); }

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* --- the meter, as benchmarks/meter.py */

static double cpu, cpu_before, before, *laps;
static int lap_count;

static void begin(void) {
    cpu_before = now(CLOCK_PROCESS_CPUTIME_ID);
    before = now(CLOCK_MONOTONIC);
}

static void lap(void) {
    double after = now(CLOCK_MONOTONIC);
    laps[lap_count++] = after - before;
    before = after;
}

static void end(void) { cpu += now(CLOCK_PROCESS_CPUTIME_ID) - cpu_before; }

static int by_size(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static void report(int batch) {
    double sum = 0;
    for (int i = 0; i < lap_count; i++) sum += laps[i];
    qsort(laps, lap_count, sizeof *laps, by_size);
    int p99 = (int)(lap_count * 0.99);
    printf("{\"cpu\": %f, \"rate\": %f, \"median\": %f, \"p99\": %f}\n", cpu / ((double)lap_count * batch) * 1e6,
           (double)lap_count * batch / sum, laps[lap_count / 2] * 1e6, laps[p99 < lap_count ? p99 : lap_count - 1] * 1e6);
}

/* --- the scenarios */

static char *buffer;
static int buffer_size = 2 << 20;

static void get_one(zhandle_t *zk, const char *path) {
    struct Stat stat;
    int length = buffer_size, code = zoo_get(zk, path, 0, buffer, &length, &stat);
    if (code != ZOK) fail("get", code);
}

static void get_many(zhandle_t *zk, int batch) {
    const char *path = text("SMALL");
    expect(batch);
    for (int i = 0; i < batch; i++) zoo_aget(zk, path, 0, got, NULL);
    wait_none_left();
}

static void set_many(zhandle_t *zk, int batch) {
    const char *path = text("SMALL");
    int size = number("SMALL_SIZE");
    expect(batch);
    for (int i = 0; i < batch; i++) zoo_aset(zk, path, buffer, size, -1, was_set, NULL);
    wait_none_left();
}

static void repetition(zhandle_t *zk, const char *scenario) {
    int code = ZOK;
    if (!strcmp(scenario, "get_data-serial")) get_one(zk, text("SMALL"));
    else if (!strcmp(scenario, "get_data-1MB")) get_one(zk, text("LARGE"));
    else if (!strcmp(scenario, "get_data-500")) get_many(zk, number("BATCH"));
    else if (!strcmp(scenario, "set_data-500")) set_many(zk, number("BATCH"));
    else if (!strcmp(scenario, "set_data-1MB")) {
        struct Stat stat;
        code = zoo_set2(zk, text("LARGE"), buffer, number("LARGE_SIZE"), -1, &stat);
    } else if (!strcmp(scenario, "create")) {
        char path[256], made[256];
        snprintf(path, sizeof path, "%s/n-", text("NEW"));
        code = zoo_create(zk, path, buffer, number("SMALL_SIZE"), &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE,
                          made, sizeof made);
    } else if (!strcmp(scenario, "get_children-10000")) {
        struct String_vector names;
        code = zoo_get_children(zk, text("PARENT"), 0, &names);
        deallocate_String_vector(&names);
    } else if (!strcmp(scenario, "connect")) {
        zookeeper_close(open_session());
    } else {
        fprintf(stderr, "no scenario %s\n", scenario);
        exit(1);
    }
    if (code != ZOK) fail(scenario, code);
}

static void watches(zhandle_t *zk, int count) {
    char path[256];
    for (int i = 0; i <= repetitions; i++) {
        expect(count);
        for (int j = 0; j < count; j++) {
            snprintf(path, sizeof path, "%s/w%04d", text("WATCHED"), j);
            zoo_awget(zk, path, fired, NULL, got, NULL);
        }
        wait_none_left();
        expect(count);
        printf("armed\n");
        fflush(stdout);
        begin();
        wait_none_left();
        lap();
        end();
        if (i == 0) { cpu = 0; lap_count = 0; }
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    hosts = argv[1];
    const char *scenario = argv[2];
    repetitions = atoi(argv[3]);
    warm_up = atoi(argv[4]);
    timeout_ms = atoi(argv[5]);
    laps = calloc(repetitions + 2, sizeof *laps);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zk = strcmp(scenario, "connect") ? open_session() : NULL;
    if (!strcmp(scenario, "idle")) {
        printf("idle\n");
        fflush(stdout);
        for (;;) pause();
    }
    buffer = calloc(1, buffer_size);
    int batch = 1;
    if (!strcmp(scenario, "watches-1000")) {
        batch = number("WATCHES");
        watches(zk, batch);
    } else {
        if (strstr(scenario, "-500")) batch = number("BATCH");
        for (int i = 0; i < warm_up; i++) repetition(zk, scenario);
        begin();
        for (int i = 0; i < repetitions; i++) {
            repetition(zk, scenario);
            lap();
        }
        end();
    }
    report(batch);
    if (zk != NULL) zookeeper_close(zk);
    return 0;
}
