// Makes many threads sleep in timerfd_settime32 at once, in a page that userfaultfd holds back; each sets from an address of its
// own, and then makes a call that fails, with its number below zero for the descriptor. While they sleep, the first thread makes
// calls that fail, and others whose facts must not get into those: to the same address, with the same descriptor, of the same
// kind. Argument: threads. Prints the address of the first one's setting.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { SETTIME32 = 325, GETTIME32 = 326, SETTIME64 = 411, POSIX_CREATE = 259, POSIX_SETTIME32 = 260, POSIX_GETTIME32 = 261 };

static int fd;
static char *held;

static void *sleeper(void *number) {
    int at = (int)number;
    syscall(SETTIME32, fd, 0, held + 16 * at, 0);
    syscall(SETTIME32, -1 - at, 0, 0, 0);
    return 0;
}

static void others(void) {
    int32_t new[4] = {0, 0, 4321, 0}, old[4];
    int64_t wide[4] = {0, 0, 1234, 0}, none[8] = {0, 1};
    int id = 0;
    // Fails once it has copied, and has no old setting.
    syscall(SETTIME32, -7777, 0, new, old);
    syscall(GETTIME32, fd, old);
    // SIGEV_NONE
    ((int32_t *)none)[2] = 1;
    syscall(POSIX_CREATE, CLOCK_MONOTONIC, none, &id);
    syscall(POSIX_SETTIME32, id, 0, new, old);
    syscall(POSIX_GETTIME32, id, old);
    // Fails before it copies.
    syscall(SETTIME32, fd, 0, 0, 0);
    syscall(SETTIME64, fd, 0, wide, 0);
    syscall(SETTIME32, -8888, 0, new, 0);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1, holder = syscall(SYS_userfaultfd, O_CLOEXEC);
    size_t len = (16 * threads + 4095) & ~4095;
    pthread_t *sleepers = calloc(threads, sizeof *sleepers);
    pthread_attr_t small;
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    held = mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {(uintptr_t)held, len}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    struct uffdio_zeropage zeros = {.range = range.range};
    if (ioctl(holder, UFFDIO_API, &api) || ioctl(holder, UFFDIO_REGISTER, &range)) return perror("userfaultfd"), 1;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 16384);
    for (int at = 0; at < threads; at++) {
        if (pthread_create(&sleepers[at], &small, sleeper, (void *)at)) return 1;
    }
    // Each page is asked for once by every thread that sleeps for it.
    for (int seen = 0; seen < threads;) {
        struct uffd_msg message;
        seen += read(holder, &message, sizeof message) == sizeof message;
    }
    others();
    if (ioctl(holder, UFFDIO_ZEROPAGE, &zeros)) return perror("UFFDIO_ZEROPAGE"), 1;
    for (int at = 0; at < threads; at++) pthread_join(sleepers[at], 0);
    fprintf(stderr, "held %u\n", (unsigned)held);
    return 0;
}
