
enum page { RESIDENT, UNMAPPED, NO_ACCESS, READ_ONLY, WRITE_ONLY, UNTOUCHED, FILE_BACKED, GIVEN_UP };

#define PAGE 4096
#ifdef __x86_64__
#define LOW MAP_32BIT
#else
#define LOW 0
#endif

/* For each pointer four pages of address space; what matters is the edge between the second and the third. */
static char *regions[2];

/* What is around a pointer, from 15 bytes before it to 15 bytes behind what it points to. */
static char image[46];

static void blank(void) { memset(image, 0x5a, sizeof image); }

static void put(int by, struct setting setting) { memcpy(image + 15 + by, &setting, sizeof setting); }

/* Right before a call, so that a page that must not be resident is not touched in between. */
static void make_page(char *page, enum page kind, char *at, const char *bytes, int len) {
    int read_write = PROT_READ | PROT_WRITE;
    if (kind == UNMAPPED) {
        munmap(page, PAGE);
        return;
    }
    if (kind == FILE_BACKED) {
        int file = need(memfd_create("page", 0), "memfd_create");
        need(ftruncate(file, PAGE), "ftruncate");
        need(pwrite(file, bytes, len, at - page), "pwrite");
        need((long)mmap(page, PAGE, read_write, MAP_SHARED | MAP_FIXED, file, 0), "mmap");
        close(file);
        return;
    }
    need((long)mmap(page, PAGE, read_write, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "mmap");
    if (kind == UNTOUCHED)
        return;
    memcpy(at, bytes, len);
    if (kind == GIVEN_UP)
        need(madvise(page, PAGE, MADV_DONTNEED), "madvise");
    if (kind == NO_ACCESS || kind == READ_ONLY || kind == WRITE_ONLY)
        need(mprotect(page, PAGE, kind == NO_ACCESS ? PROT_NONE : kind == READ_ONLY ? PROT_READ : PROT_WRITE), "mprotect");
}

/* Memory with the image around it, so many bytes from the edge, on a page of either kind. */
static uintptr_t lay_out(int which, int from_edge, enum page first, enum page next) {
    if (!regions[which]) {
        regions[which] = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS | LOW, -1, 0);
        need((long)regions[which], "mmap");
    }
    char *edge = regions[which] + 2 * PAGE, *pointer = edge + from_edge, *begin = pointer - 15;
    int on_first = begin > edge ? 0 : edge - begin;
    if (on_first > (int)sizeof image)
        on_first = sizeof image;
    if (on_first > 0)
        make_page(edge - PAGE, first, begin, image, on_first);
    make_page(edge, next, begin + on_first, image + on_first, sizeof image - on_first);
    return (uintptr_t)pointer;
}

/* Memory with the image's setting at an address that is known beforehand; the stack may be there already. */
static uintptr_t at_address(uintptr_t address) {
    char *first = (char *)(address & ~(uintptr_t)(PAGE - 1)), *last = (char *)((address + 15) & ~(uintptr_t)(PAGE - 1));
    for (char *page = first; page <= last; page += PAGE)
        mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    memcpy((void *)address, image + 15, 16);
    return address;
}

static void clear(void) {
    for (int which = 0; which < 2; which++)
        if (regions[which])
            mmap(regions[which], 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}
