// Calls timerfd_settime32, beside threads that keep the maps of BPF busy. On a kernel that preempts, such a thread is preempted
// inside of bpf(2) time and again, and meanwhile the kernel passes the programs of all kprobes over on that CPU.
// Arguments: threads, calls. Each call has its number for flags.
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int map;
static volatile int done;

static void *hammer(void *unused) {
    static __thread char value[4096];
    unsigned key = 1;
    union bpf_attr attr = {.map_fd = map, .key = (unsigned long)&key, .value = (unsigned long)value};
    while (!done) syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof attr);
    return unused;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    union bpf_attr attr = {.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 4096, .max_entries = 16};
    map = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
    if (map < 0) {
        perror("BPF_MAP_CREATE");
        return 1;
    }
    int threads = atoi(argv[1]), calls = atoi(argv[2]);
    pthread_t ids[16];
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, hammer, NULL);
    for (int i = 0; i < calls; i++) {
        long ret = 325;
        __asm__ volatile("int $0x80" : "+a"(ret) : "b"(-1L), "c"((long)i), "d"(0L), "S"(0L) : "r8", "r9", "r10", "r11", "memory");
        // So that others come to run.
        if (i % 50 == 0) usleep(500);
    }
    done = 1;
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    return 0;
}
