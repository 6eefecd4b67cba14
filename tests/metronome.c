/* Sets timers by timerfd_settime32, waits for them by epoll, and writes what it measured itself to a file: a line for each time
 * that it read one. Timers 0 and 3 are set anew for a time from now, on two clocks; timer 1 for a point in time; timer 2 is
 * periodic and set once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { TIMERS = 4, PERIODIC = 2, ABSOLUTE = 1, SYS_TIMERFD_SETTIME32 = 325 };

struct time32 { int32_t sec, nsec; };
struct setting32 { struct time32 interval, value; };

static const int64_t SECOND = 1000000000, PERIOD = 7000000;
static const int clocks[TIMERS] = { CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
static int timers[TIMERS];
/* When the next expiry of each is due, at the earliest and at the latest. */
static int64_t earliest[TIMERS], latest[TIMERS];

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void set(int at, int64_t from_now, int64_t interval)
{
    int64_t value = at == ABSOLUTE ? now() + from_now : from_now;
    struct setting32 setting = { { interval / SECOND, interval % SECOND }, { value / SECOND, value % SECOND } };
    int64_t before = now();
    if (syscall(SYS_TIMERFD_SETTIME32, timers[at], at == ABSOLUTE ? TFD_TIMER_ABSTIME : 0, &setting, NULL) != 0)
        exit(2);
    int64_t after = now();
    earliest[at] = at == ABSOLUTE ? value : before + value;
    latest[at] = at == ABSOLUTE ? value : after + value;
}

int main(int count, char **words)
{
    FILE *out = count == 3 ? fopen(words[2], "w") : NULL;
    int epoll = epoll_create1(0);
    unsigned random = 1;
    if (!out || epoll < 0)
        exit(3);
    for (int at = 0; at < TIMERS; at++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = at };
        timers[at] = timerfd_create(clocks[at], 0);
        if (timers[at] < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timers[at], &event) != 0)
            exit(4);
        set(at, 2000000 + at * 700000, at == PERIODIC ? PERIOD : 0);
    }
    for (int left = atoi(words[1]); left > 0;) {
        struct epoll_event events[TIMERS];
        int ready = epoll_wait(epoll, events, TIMERS, -1);
        int64_t woke = now();
        for (int index = 0; index < ready; index++, left--) {
            int at = events[index].data.u32;
            uint64_t ticks = 0;
            if (read(timers[at], &ticks, sizeof ticks) != sizeof ticks)
                exit(5);
            fprintf(out, "%d %lld %lld %lld %llu\n", at, (long long)earliest[at], (long long)latest[at], (long long)woke,
                    (unsigned long long)ticks);
            if (at == PERIODIC) {
                earliest[at] += ticks * PERIOD;
                latest[at] += ticks * PERIOD;
            } else {
                random = random * 1103515245 + 12345;
                set(at, 200000 + random % 5000000, 0);
            }
        }
    }
    return fclose(out) == 0 ? 0 : 6;
}
