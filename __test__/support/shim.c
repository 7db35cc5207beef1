// Makes system calls fail while a file of their name is in the folder that FAULTS names. Preloaded into a process.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_failing(const char *name) {
  char path[4096];
  const char *folder = getenv("FAULTS");
  // Node's own threads begin on the main one, or are not to fail.
  if (folder == NULL || syscall(SYS_gettid) == getpid()) return 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (access(path, F_OK) != 0) return 0;
  snprintf(path, sizeof path, "%s/%s.failed", folder, name);
  FILE *file = fopen(path, "a");
  if (file != NULL) fclose(file);
  return 1;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
  return is_failing("pthread_create") ? EAGAIN : real(thread, attributes, start, argument);
}

int socket(int domain, int type, int protocol) {
  int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
  if (domain == AF_INET && is_failing("socket")) {
    errno = EMFILE;
    return -1;
  }
  return real(domain, type, protocol);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
  return is_failing("getaddrinfo") ? EAI_AGAIN : real(node, service, hints, result);
}
