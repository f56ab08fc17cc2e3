// LD_PRELOAD: FAIL="fsync-dir=22 flock=37 link=95 rename=5" lets these calls fail with these errno values for files below
// $FAIL_BELOW, as file systems do that lack them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_below(const char *path) {
  const char *root = getenv("FAIL_BELOW");
  return root && strncmp(path, root, strlen(root)) == 0;
}

static int is_open_below(int file) {
  char link[64], path[PATH_MAX] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  return readlink(link, path, sizeof path - 1) > 0 && is_below(path);
}

static int failure(const char *call) {
  const char *found = getenv("FAIL");
  size_t length = strlen(call);
  for (; found && (found = strstr(found, call)); found += length)
    if (found[length] == '=') return atoi(found + length + 1);
  return 0;
}

static int fails(const char *call, int concerned) {
  int error = concerned ? failure(call) : 0;
  if (error) errno = error;
  return error != 0;
}

int fsync(int file) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fsync");
  struct stat status;
  int is_directory = fstat(file, &status) == 0 && S_ISDIR(status.st_mode);
  return fails("fsync-dir", is_directory && is_open_below(file)) ? -1 : next(file);
}

int flock(int file, int operation) {
  static int (*next)(int, int);
  if (!next) next = dlsym(RTLD_NEXT, "flock");
  return fails("flock", is_open_below(file)) ? -1 : next(file, operation);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  static int (*next)(int, const char *, int, const char *, int);
  if (!next) next = dlsym(RTLD_NEXT, "linkat");
  return fails("link", is_below(to)) ? -1 : next(from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to) {
  static int (*next)(const char *, const char *);
  if (!next) next = dlsym(RTLD_NEXT, "link");
  return fails("link", is_below(to)) ? -1 : next(from, to);
}

int rename(const char *from, const char *to) {
  static int (*next)(const char *, const char *);
  if (!next) next = dlsym(RTLD_NEXT, "rename");
  return fails("rename", is_below(to)) ? -1 : next(from, to);
}
