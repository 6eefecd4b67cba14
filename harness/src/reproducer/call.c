#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* struct old_itimerspec32 */
struct setting { int32_t interval_sec, interval_nsec, value_sec, value_nsec; };

/* Plain memory for both pointers, on one page and apart from each other. */
static char memory[4096] __attribute__((aligned(4096)));
static struct setting *const utmr = (void *)(memory + 0x200), *const otmr = (void *)(memory + 0xa00);

static int fds[32];

static long need(long ret, const char *what) {
    if (ret == -1) {
        perror(what);
        exit(1);
    }
    return ret;
}

static void show(int step, uint32_t fd, uint32_t flags, uintptr_t new, uintptr_t old, long ret) {
    printf("step %d: timerfd_settime32(%d, %#x, %#lx, %#lx) = %d\n", step, (int)fd, flags, (unsigned long)new, (unsigned long)old, (int)ret);
    fflush(stdout);
}

/* timerfd_settime32, 325 of i386, by int $0x80 with exactly these register values. */
static void settime32(int step, uint32_t fd, uint32_t flags, uintptr_t new, uintptr_t old) {
    long ret;
#ifdef __x86_64__
    /* The upper halves hold something, which the kernel must not look at. */
    __asm__ volatile("int $0x80" : "=a"(ret)
                     : "0"(0xdeadbeef00000000 | 325), "b"(0xcafe000000000000 | fd), "c"(0xffffffff00000000 | flags),
                       "d"(0x8000000000000000 | new), "S"(0x0000000100000000 | old)
                     : "memory", "r8", "r9", "r10", "r11");
#else
    __asm__ volatile("int $0x80" : "=a"(ret) : "0"(325), "b"(fd), "c"(flags), "d"(new), "S"(old) : "memory");
#endif
    show(step, fd, flags, new, old, ret);
}
