// A disk with a volatile write cache, for one process: loaded by LD_PRELOAD, it keeps a second copy of one folder that holds only what
// the process has synced, which is what a power cut leaves in the worst case. It can also make every fsync slow. It is a program of its
// own and in C, because replacing functions of the C library is not safe Rust.
//
//   VOLATILE_CACHE_FOLDER    the folder of the store; its subfolders are not modelled
//   VOLATILE_CACHE_DURABLE   the copy, made and kept by this library:
//                              names/NAME   what is certain to have this name after a power cut, with its synced content
//                              data/INODE   the synced content of a file of the folder, whether or not its name is certain
//   VOLATILE_CACHE_DELAY_MS  what each fsync and fdatasync takes longer, in milliseconds
//   VOLATILE_CACHE_IGNORES   if set, fsync and fdatasync succeed and make nothing durable: a disk that lies
//   VOLATILE_CACHE_COUNTERS  a file for the counters below, which outlives a SIGKILL
//
// The model, where POSIX and disks leave a choice, is the strict one:
// - A sync makes durable what was written before it began, and only once it returns. Any descriptor of the inode will do.
// - A new, removed or renamed name is durable only after an fsync of the folder. (SQLite syncs the folder after it has created a write-ahead
//   log or a journal.)
// - What the folder holds when the process first writes there is durable: that is what the last power cut left.
// - Files in shared memory (SQLite's *-shm) mean nothing after a power cut and are left out.
// Not modelled, because neither SQLite nor the operator uses them: writes through mmap, io_uring, O_SYNC, copy_file_range, sync().

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct counters {
    _Atomic uint64_t writes, written_bytes, syncs, folder_syncs, durable_bytes;
};

struct range {
    off_t start, end;
};

// The unsynced changes of a file.
struct changes {
    struct range *ranges;
    size_t count, capacity;
    // The smallest size it was cut to, or -1.
    off_t cut_to;
};

struct file {
    dev_t dev;
    ino_t ino;
    // For reading the file. Never closed: that would release the process's POSIX locks on the file. It also keeps the inode's number from
    // being given to another file.
    int reader;
    // The synced content.
    int durable;
    struct changes changes;
    // Syncs become effective in the order in which they began.
    uint64_t syncs_begun, syncs_done;
    struct file *next;
};

enum { MAX_DESCRIPTORS = 1 << 20 };
static struct file *_Atomic descriptors[MAX_DESCRIPTORS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sync_done = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct file *files;
static struct counters no_file;
static struct counters *counters = &no_file;
static char folder[PATH_MAX];
static char names_folder[PATH_MAX], data_folder[PATH_MAX];
static long delay_ms;
static int ignores_syncs;

static void fail(const char *what) {
    fprintf(stderr, "volatile_cache: %s: %s\n", what, strerror(errno));
    abort();
}

// Paths are short, and a longer one than fits is a mistake of the test.
static void join(char *path, const char *parent, const char *name) {
    if (snprintf(path, PATH_MAX, "%s/%s", parent, name) >= PATH_MAX) fail("a path is too long");
}

static void data_path(char *path, ino_t ino) {
    char name[32];
    snprintf(name, sizeof name, "%llu", (unsigned long long)ino);
    join(path, data_folder, name);
}

static int is_modelled(const char *name) {
    size_t length = strlen(name);
    return name[0] != '.' && !strchr(name, '/') && !(length > 4 && !strcmp(name + length - 4, "-shm"));
}

// System calls are made directly: nothing has to be looked up while the C library is being loaded.
static void write_all(int fd, const char *bytes, size_t size, off_t at) {
    while (size > 0) {
        ssize_t written = syscall(SYS_pwrite64, fd, bytes, size, at);
        if (written < 0 && errno != EINTR) fail("the durable copy cannot be written");
        if (written > 0) {
            bytes += written;
            size -= written;
            at += written;
        }
    }
}

static struct file *find(dev_t dev, ino_t ino) {
    struct file *file = files;
    while (file && (file->dev != dev || file->ino != ino)) file = file->next;
    return file;
}

// Registers a file whose synced content is empty. `fd` may be of any kind.
static struct file *add(int fd, const struct stat *status) {
    char path[PATH_MAX];
    struct file *file = calloc(1, sizeof *file);
    if (!file) fail("no memory");
    file->dev = status->st_dev;
    file->ino = status->st_ino;
    file->changes.cut_to = -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    file->reader = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file->reader < 0) fail("a file cannot be read");
    data_path(path, file->ino);
    syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    file->durable = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->durable < 0) fail("the durable copy cannot be created");
    file->next = files;
    files = file;
    return file;
}

static void note_write(struct file *file, off_t start, off_t end) {
    struct changes *changes = &file->changes;
    struct range *last = changes->count ? &changes->ranges[changes->count - 1] : NULL;
    if (last && start >= last->start && start <= last->end) {
        if (end > last->end) last->end = end;
        return;
    }
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity ? 2 * changes->capacity : 64;
        changes->ranges = realloc(changes->ranges, changes->capacity * sizeof *changes->ranges);
        if (!changes->ranges) fail("no memory");
    }
    changes->ranges[changes->count++] = (struct range){start, end};
}

static void note_cut(struct file *file, off_t size) {
    struct changes *changes = &file->changes;
    if (changes->cut_to < 0 || size < changes->cut_to) changes->cut_to = size;
}

// What a sync will make durable: the changes and, one after the other, the bytes in them.
struct snapshot {
    struct changes changes;
    char *bytes;
    size_t *sizes;
    off_t size;
};

static struct snapshot take_snapshot(struct file *file) {
    struct snapshot snapshot = {.changes = file->changes};
    struct stat status;
    size_t total = 0;
    file->changes = (struct changes){.cut_to = -1};
    if (fstat(file->reader, &status)) fail("a file's size cannot be read");
    snapshot.size = status.st_size;
    for (size_t i = 0; i < snapshot.changes.count; i++) {
        total += snapshot.changes.ranges[i].end - snapshot.changes.ranges[i].start;
    }
    snapshot.bytes = malloc(total + 1);
    snapshot.sizes = calloc(snapshot.changes.count + 1, sizeof *snapshot.sizes);
    if (!snapshot.bytes || !snapshot.sizes) fail("no memory");
    char *next = snapshot.bytes;
    for (size_t i = 0; i < snapshot.changes.count; i++) {
        struct range range = snapshot.changes.ranges[i];
        // Less than the range where the file was cut after the write.
        while (range.start < range.end) {
            ssize_t count = pread(file->reader, next, range.end - range.start, range.start);
            if (count < 0 && errno != EINTR) fail("a file cannot be read");
            if (count == 0) break;
            if (count > 0) {
                range.start += count;
                next += count;
                snapshot.sizes[i] += count;
            }
        }
    }
    return snapshot;
}

static void make_durable(struct file *file, const struct snapshot *snapshot) {
    const char *next = snapshot->bytes;
    if (snapshot->changes.cut_to >= 0 && syscall(SYS_ftruncate, file->durable, snapshot->changes.cut_to)) {
        fail("the durable copy cannot be cut");
    }
    for (size_t i = 0; i < snapshot->changes.count; i++) {
        write_all(file->durable, next, snapshot->sizes[i], snapshot->changes.ranges[i].start);
        next += snapshot->sizes[i];
        atomic_fetch_add(&counters->durable_bytes, snapshot->sizes[i]);
    }
    if (syscall(SYS_ftruncate, file->durable, snapshot->size)) fail("the durable copy cannot be cut");
}

static void restore_changes(struct file *file, const struct changes *changes) {
    for (size_t i = 0; i < changes->count; i++) note_write(file, changes->ranges[i].start, changes->ranges[i].end);
    if (changes->cut_to >= 0) note_cut(file, changes->cut_to);
}

// Makes the names of the folder durable as they are now.
static void make_names_durable(void) {
    DIR *now = opendir(folder), *before = opendir(names_folder);
    struct dirent *entry;
    struct stat status;
    char path[PATH_MAX], data[PATH_MAX], link_path[PATH_MAX];
    if (!before) fail("the durable names cannot be read");
    while ((entry = readdir(before))) {
        join(path, folder, entry->d_name);
        join(link_path, names_folder, entry->d_name);
        if (entry->d_name[0] != '.' && fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW)) {
            syscall(SYS_unlinkat, AT_FDCWD, link_path, 0);
        }
    }
    closedir(before);
    while (now && (entry = readdir(now))) {
        join(path, folder, entry->d_name);
        if (!is_modelled(entry->d_name) || fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW)
            || !S_ISREG(status.st_mode) || !find(status.st_dev, status.st_ino)) {
            continue;
        }
        join(link_path, names_folder, entry->d_name);
        data_path(data, status.st_ino);
        syscall(SYS_unlinkat, AT_FDCWD, link_path, 0);
        if (syscall(SYS_linkat, AT_FDCWD, data, AT_FDCWD, link_path, 0)) fail("a name cannot be made durable");
    }
    if (now) closedir(now);
}

// Registers a file that the folder holds already: all of it is durable.
static void add_existing(const char *name) {
    char path[PATH_MAX];
    struct stat status;
    join(path, folder, name);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode)) {
        if (fd >= 0) syscall(SYS_close, fd);
        return;
    }
    struct file *file = add(fd, &status);
    note_write(file, 0, status.st_size);
    struct snapshot snapshot = take_snapshot(file);
    make_durable(file, &snapshot);
    free(snapshot.changes.ranges);
    free(snapshot.bytes);
    free(snapshot.sizes);
    // No lock is held yet that the closing could release.
    syscall(SYS_close, fd);
}

static void open_counters(const char *path) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof *counters)) fail("the counters cannot be created");
    void *mapped = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) fail("the counters cannot be mapped");
    counters = mapped;
    syscall(SYS_close, fd);
}

static void make_folder(const char *path) {
    if (mkdir(path, 0700) && errno != EEXIST) fail("VOLATILE_CACHE_DURABLE");
}

static void set_up(void) {
    const char *path = getenv("VOLATILE_CACHE_FOLDER"), *durable = getenv("VOLATILE_CACHE_DURABLE");
    const char *delay = getenv("VOLATILE_CACHE_DELAY_MS"), *counted = getenv("VOLATILE_CACHE_COUNTERS");
    struct dirent *entry;
    delay_ms = delay ? atol(delay) : 0;
    ignores_syncs = getenv("VOLATILE_CACHE_IGNORES") != NULL;
    if (counted) open_counters(counted);
    if (!path || !durable) return;
    if (!realpath(path, folder)) fail("VOLATILE_CACHE_FOLDER");
    join(names_folder, durable, "names");
    join(data_folder, durable, "data");
    make_folder(names_folder);
    make_folder(data_folder);
    DIR *listing = opendir(folder);
    if (!listing) fail("VOLATILE_CACHE_FOLDER");
    while ((entry = readdir(listing))) {
        if (is_modelled(entry->d_name)) add_existing(entry->d_name);
    }
    closedir(listing);
    make_names_durable();
}

// The registered file behind a descriptor that was opened for writing, or NULL.
static struct file *tracked(int fd) {
    char link_path[64], path[PATH_MAX];
    struct stat status;
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link_path, path, sizeof path - 1);
    size_t prefix = strlen(folder);
    if (length < 0) return NULL;
    path[length] = 0;
    if (strncmp(path, folder, prefix) || path[prefix] != '/' || !is_modelled(path + prefix + 1)) return NULL;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) return NULL;
    struct file *file = find(status.st_dev, status.st_ino);
    return file ? file : add(fd, &status);
}

static int open_at(int parent, const char *path, int flags, mode_t mode) {
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (writes) pthread_once(&once, set_up);
    int fd = syscall(SYS_openat, parent, path, flags, mode);
    if (fd < 0 || fd >= MAX_DESCRIPTORS) return fd;
    struct file *file = NULL;
    if (writes && folder[0]) {
        pthread_mutex_lock(&lock);
        file = tracked(fd);
        if (file && (flags & O_TRUNC)) note_cut(file, 0);
        pthread_mutex_unlock(&lock);
    }
    atomic_store(&descriptors[fd], file);
    return fd;
}

static mode_t mode_argument(int flags, va_list arguments) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name)                               \
    int name(const char *path, int flags, ...) {        \
        va_list arguments;                              \
        va_start(arguments, flags);                     \
        mode_t mode = mode_argument(flags, arguments);  \
        va_end(arguments);                              \
        return open_at(AT_FDCWD, path, flags, mode);    \
    }
#define DEFINE_OPENAT(name)                                     \
    int name(int parent, const char *path, int flags, ...) {    \
        va_list arguments;                                      \
        va_start(arguments, flags);                             \
        mode_t mode = mode_argument(flags, arguments);          \
        va_end(arguments);                                      \
        return open_at(parent, path, flags, mode);              \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int creat(const char *path, mode_t mode) {
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) {
    return creat(path, mode);
}

static struct file *file_of(int fd) {
    return fd >= 0 && fd < MAX_DESCRIPTORS ? atomic_load(&descriptors[fd]) : NULL;
}

static int duplicated(int from, int to) {
    if (to >= 0 && to < MAX_DESCRIPTORS) atomic_store(&descriptors[to], file_of(from));
    return to;
}

int dup(int fd) {
    return duplicated(fd, syscall(SYS_dup, fd));
}
int dup3(int from, int to, int flags) {
    return duplicated(from, syscall(SYS_dup3, from, to, flags));
}
int dup2(int from, int to) {
    if (from == to) return syscall(SYS_fcntl, from, F_GETFD) < 0 ? -1 : to;
    return dup3(from, to, 0);
}

static int control(int fd, int command, long argument) {
    int result = syscall(SYS_fcntl, fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, result) : result;
}

#define DEFINE_FCNTL(name)                          \
    int name(int fd, int command, ...) {            \
        va_list arguments;                          \
        va_start(arguments, command);               \
        long argument = va_arg(arguments, long);    \
        va_end(arguments);                          \
        return control(fd, command, argument);      \
    }
DEFINE_FCNTL(fcntl)
DEFINE_FCNTL(fcntl64)

int close(int fd) {
    if (fd >= 0 && fd < MAX_DESCRIPTORS && file_of(fd)) atomic_store(&descriptors[fd], NULL);
    return syscall(SYS_close, fd);
}

// Notes a write of `count` bytes at `start`, or before the descriptor's position if that is -1.
static ssize_t written(int fd, ssize_t count, off_t start) {
    struct file *file = count > 0 ? file_of(fd) : NULL;
    if (!file) return count;
    int saved = errno;
    if (start < 0) start = syscall(SYS_lseek, fd, 0, SEEK_CUR) - count;
    atomic_fetch_add(&counters->writes, 1);
    atomic_fetch_add(&counters->written_bytes, count);
    pthread_mutex_lock(&lock);
    note_write(file, start, start + count);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return count;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    return written(fd, syscall(SYS_write, fd, bytes, size), -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return written(fd, syscall(SYS_writev, fd, parts, count), -1);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return written(fd, syscall(SYS_pwrite64, fd, bytes, size, at), at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return pwrite(fd, bytes, size, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return written(fd, syscall(SYS_pwritev, fd, parts, count, at, 0), at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return pwritev(fd, parts, count, at);
}

int ftruncate(int fd, off_t size) {
    int result = syscall(SYS_ftruncate, fd, size);
    struct file *file = result ? NULL : file_of(fd);
    if (file) {
        pthread_mutex_lock(&lock);
        note_cut(file, size);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

// The sync itself, and what a slow disk takes longer for it. A modelled folder is not synced to this machine's disk, which may be slow, too:
// the power cut is simulated, and what is written outlives the process.
static int sync_slowly(long call, int fd) {
    int result = folder[0] ? 0 : syscall(call, fd);
    int saved = errno;
    struct timespec rest = {delay_ms / 1000, delay_ms % 1000 * 1000000};
    while (delay_ms > 0 && nanosleep(&rest, &rest) && errno == EINTR) {}
    errno = saved;
    return result;
}

static int sync_file(long call, int fd, struct file *file) {
    pthread_mutex_lock(&lock);
    uint64_t turn = file->syncs_begun++;
    struct snapshot snapshot = take_snapshot(file);
    pthread_mutex_unlock(&lock);
    int result = sync_slowly(call, fd);
    int saved = errno;
    pthread_mutex_lock(&lock);
    while (file->syncs_done != turn) pthread_cond_wait(&sync_done, &lock);
    if (result == 0 && !ignores_syncs) {
        make_durable(file, &snapshot);
    } else {
        restore_changes(file, &snapshot.changes);
    }
    file->syncs_done++;
    pthread_cond_broadcast(&sync_done);
    pthread_mutex_unlock(&lock);
    free(snapshot.changes.ranges);
    free(snapshot.bytes);
    free(snapshot.sizes);
    errno = saved;
    return result;
}

static int synced(long call, int fd) {
    struct stat status, folder_status;
    pthread_once(&once, set_up);
    atomic_fetch_add(&counters->syncs, 1);
    if (!folder[0]) return sync_slowly(call, fd);
    if (fstat(fd, &status)) return -1;
    if (S_ISDIR(status.st_mode)) {
        int is_folder = !fstatat(AT_FDCWD, folder, &folder_status, 0) && folder_status.st_ino == status.st_ino
            && folder_status.st_dev == status.st_dev;
        if (is_folder && !ignores_syncs) {
            atomic_fetch_add(&counters->folder_syncs, 1);
            pthread_mutex_lock(&lock);
            make_names_durable();
            pthread_mutex_unlock(&lock);
        }
        return sync_slowly(call, fd);
    }
    pthread_mutex_lock(&lock);
    struct file *file = find(status.st_dev, status.st_ino);
    pthread_mutex_unlock(&lock);
    return file ? sync_file(call, fd, file) : sync_slowly(call, fd);
}

int fsync(int fd) {
    return synced(SYS_fsync, fd);
}
int fdatasync(int fd) {
    return synced(SYS_fdatasync, fd);
}
