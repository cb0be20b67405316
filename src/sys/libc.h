/* The functions, constants and structs of libc and Linux that the server uses, as their manual pages declare them.
 *
 * Codegen reads it into generated/libc.gen.ts. test/codegen/system.test.ts compiles every row beside the system's own
 * headers. All values are the same on x86-64 and aarch64; do not add O_DIRECT and the like, which are not.
 */
#ifndef NBDKIT_BUN_LIBC_H
#define NBDKIT_BUN_LIBC_H

#include <stddef.h>
#include <stdint.h>

/* An argument for the `...` of a variadic function. Linux's ABIs pass integers and pointers there like parameters. */
#ifndef SYS_REST
#define SYS_REST(...) __VA_ARGS__
#endif

typedef int64_t off_t;
typedef int64_t ssize_t;
typedef int pid_t;
typedef unsigned uid_t;
typedef unsigned gid_t;
typedef uint64_t nfds_t;
typedef uint64_t rlim_t;
typedef uint16_t sa_family_t;
typedef void FILE;
typedef void posix_spawn_file_actions_t;
typedef void posix_spawnattr_t;
typedef struct Dl_info Dl_info;

/* Files: fallocate(2), lseek(2), preadv2(2), posix_fadvise(2). */
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_PUNCH_HOLE 2
#define FALLOC_FL_ZERO_RANGE 0x10
#define SEEK_END 2
#define SEEK_DATA 3
#define SEEK_HOLE 4
#define RWF_NOWAIT 8
#define POSIX_FADV_NORMAL 0
#define POSIX_FADV_RANDOM 1
#define POSIX_FADV_SEQUENTIAL 2
#define POSIX_FADV_WILLNEED 3
#define POSIX_FADV_DONTNEED 4

struct iovec {
  void *iov_base;
  size_t iov_len;
};

ssize_t read (int fd, void *buf, size_t count);
ssize_t write (int fd, const void *buf, size_t count);
ssize_t pread (int fd, void *buf, size_t count, off_t offset);
ssize_t pwrite (int fd, const void *buf, size_t count, off_t offset);
ssize_t preadv2 (int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags);
int fallocate (int fd, int mode, off_t offset, off_t len);
off_t lseek (int fd, off_t offset, int whence);
int fdatasync (int fd);
int close (int fd);
int posix_fadvise (int fd, off_t offset, off_t len, int advice);

/* Block devices: requests of ioctl(2) in linux/fs.h. */
#define BLKGETSIZE64 0x80081272
#define BLKSSZGET 0x1268
#define BLKDISCARD 0x1277
#define BLKIOMIN 0x1278
#define BLKIOOPT 0x1279
#define BLKROTATIONAL 0x127e
#define BLKZEROOUT 0x127f

int ioctl (int fd, uint64_t request, SYS_REST (void *argp));

/* Pipes and descriptors: fcntl(2), pipe(2), splice(2), dup(2). */
#define F_GETFD 1
#define F_SETFD 2
#define F_GETFL 3
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 1030
#define F_SETPIPE_SZ 1031
#define FD_CLOEXEC 1
#define O_NONBLOCK 0x800
#define O_CLOEXEC 0x80000
#define SPLICE_F_MOVE 1
#define SPLICE_F_NONBLOCK 2

int pipe2 (int *pipefd, int flags);
int fcntl (int fd, int op, SYS_REST (int arg));
int dup2 (int oldfd, int newfd);
ssize_t splice (int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t size, unsigned flags);
int getpagesize (void);

/* The page cache: cachestat(2), for which libc has no function. */
#define SYS_cachestat 451

struct cachestat_range {
  uint64_t off;
  uint64_t len;
};

struct cachestat {
  uint64_t nr_cache;
  uint64_t nr_dirty;
  uint64_t nr_writeback;
  uint64_t nr_evicted;
  uint64_t nr_recently_evicted;
};

int64_t syscall (int64_t number, SYS_REST (unsigned fd, const struct cachestat_range *range,
                                           struct cachestat *stat, unsigned flags));

/* Sockets: socket(2), socket(7), ip(7), unix(7), vsock(7). */
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_VSOCK 40
#define SOCK_STREAM 1
#define SOCK_CLOEXEC 0x80000
#define SOL_SOCKET 1
#define SO_REUSEADDR 2
#define SO_SNDBUF 7
#define SO_KEEPALIVE 9
#define SO_PEERCRED 17
#define SOMAXCONN 4096
#define IPPROTO_IPV6 41
#define IPV6_V6ONLY 26
#define MSG_DONTWAIT 0x40
#define VMADDR_CID_ANY 0xffffffff

struct sockaddr {
  sa_family_t sa_family;
  char sa_data[14];
};

struct sockaddr_in {
  sa_family_t sin_family;
  uint16_t sin_port;
  uint32_t sin_addr;
  uint8_t sin_zero[8];
};

struct sockaddr_in6 {
  sa_family_t sin6_family;
  uint16_t sin6_port;
  uint32_t sin6_flowinfo;
  uint8_t sin6_addr[16];
  uint32_t sin6_scope_id;
};

struct sockaddr_un {
  sa_family_t sun_family;
  char sun_path[108];
};

struct sockaddr_vm {
  sa_family_t svm_family;
  uint16_t svm_reserved1;
  uint32_t svm_port;
  uint32_t svm_cid;
  uint8_t reserved[4];
};

/* The size of the largest address. */
struct sockaddr_storage {
  sa_family_t ss_family;
  uint8_t reserved[126];
};

struct ucred {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

int socket (int domain, int type, int protocol);
int bind (int sockfd, const struct sockaddr *addr, socklen_t addrlen);
int listen (int sockfd, int backlog);
int getsockname (int sockfd, struct sockaddr *addr, socklen_t *addrlen);
int getpeername (int sockfd, struct sockaddr *addr, socklen_t *addrlen);
int getsockopt (int sockfd, int level, int optname, void *optval, socklen_t *optlen);
int setsockopt (int sockfd, int level, int optname, const void *optval, socklen_t optlen);
ssize_t recv (int sockfd, void *buf, size_t len, int flags);

/* Waiting: poll(2). */
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 0x10
#define POLLRDHUP 0x2000

struct pollfd {
  int fd;
  int16_t events;
  int16_t revents;
};

int poll (struct pollfd *fds, nfds_t nfds, int timeout);

/* Names: getaddrinfo(3), getservbyname(3), getpwnam(3). */
#define AI_PASSIVE 1

struct addrinfo {
  int ai_flags;
  int ai_family;
  int ai_socktype;
  int ai_protocol;
  socklen_t ai_addrlen;
  struct sockaddr *ai_addr;
  char *ai_canonname;
  struct addrinfo *ai_next;
};

struct servent {
  char *s_name;
  char **s_aliases;
  int s_port;
  char *s_proto;
};

struct passwd {
  char *pw_name;
  char *pw_passwd;
  uid_t pw_uid;
  gid_t pw_gid;
  char *pw_gecos;
  char *pw_dir;
  char *pw_shell;
};

int getaddrinfo (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res);
void freeaddrinfo (struct addrinfo *res);
const char *gai_strerror (int errcode);
struct servent *getservbyname (const char *name, const char *proto);
struct passwd *getpwnam (const char *name);
struct passwd *getpwuid (uid_t uid);
int initgroups (const char *user, gid_t group);
int setgroups (size_t size, const gid_t *list);

/* Libraries: dlopen(3), dladdr(3), memfd_create(2). */
#define RTLD_LAZY 1
#define RTLD_NOW 2
#define RTLD_GLOBAL 0x100
#define MFD_CLOEXEC 1
#define MFD_EXEC 0x10

struct Dl_info {
  const char *dli_fname;
  void *dli_fbase;
  const char *dli_sname;
  void *dli_saddr;
};

void *dlopen (const char *filename, int flags);
void *dlsym (void *handle, const char *symbol);
char *dlerror (void);
int dladdr (const void *addr, Dl_info *info);
int memfd_create (const char *name, unsigned flags);

/* Memory: memcpy(3), free(3), mlockall(2). */
#define MCL_CURRENT 1
#define MCL_FUTURE 2
#define MCL_ONFAULT 4

void *memcpy (void *dest, const void *src, size_t n);
void free (void *ptr);
int mlockall (int flags);

/* The process: prctl(2), getrlimit(2), whose resource is an enum in glibc, posix_spawn(3), signal(2), stdio(3). */
#define PR_SET_PDEATHSIG 1
#define PR_SET_NAME 15
#define RLIMIT_NOFILE 7

struct rlimit {
  rlim_t rlim_cur;
  rlim_t rlim_max;
};

int *__errno_location (void);
int prctl (int op, SYS_REST (uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5));
int getrlimit (unsigned resource, struct rlimit *rlim);
int setrlimit (unsigned resource, const struct rlimit *rlim);
int execv (const char *path, char *const *argv);
int posix_spawn (pid_t *pid, const char *path, const posix_spawn_file_actions_t *file_actions,
                 const posix_spawnattr_t *attrp, char *const *argv, char *const *envp);
pid_t waitpid (pid_t pid, int *wstatus, int options);
void (*signal (int signum, void (*handler) (int signum))) (int signum);
pid_t setsid (void);
int unsetenv (const char *name);
void exit (int status);
void _exit (int status);
int fflush (FILE *stream);

/* The system's log: syslog(3). */
#define LOG_PID 1
#define LOG_ERR 3
#define LOG_DAEMON (3 << 3)

void openlog (const char *ident, int option, int facility);
void syslog (int priority, const char *format, SYS_REST (const char *text));

#endif /* NBDKIT_BUN_LIBC_H */
