/* slow_fsync FILE PROGRAM ARGUMENTS...: runs the program; each fsync and fdatasync of it waits first, for as many
 * milliseconds as FILE says at that moment. By seccomp, because a Go program makes its system calls without libc. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void supervise(int listener, const char *path)
{
	for (;;) {
		struct pollfd waiting = {listener, POLLIN, 0};
		struct seccomp_notif call;
		memset(&call, 0, sizeof call);
		if (poll(&waiting, 1, -1) > 0 && !(waiting.revents & POLLIN))
			_exit(0); /* nobody is left who could call */
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
			if (errno == EINTR)
				continue;
			_exit(0);
		}
		unsigned milliseconds = 0;
		FILE *file = fopen(path, "r");
		if (file) {
			if (fscanf(file, "%u", &milliseconds) != 1)
				milliseconds = 0;
			fclose(file);
		}
		usleep(milliseconds * 1000);
		struct seccomp_notif_resp go_on;
		memset(&go_on, 0, sizeof go_on);
		go_on.id = call.id;
		go_on.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go_on);
	}
}

int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof *code, code};
	int hand_over[2];
	if (argc < 3 || pipe(hand_over) < 0)
		return 2;
	/* A child that shares our descriptors, and so gets the listener; the program keeps our pid. */
	if (syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0) == 0) {
		int listener;
		if (read(hand_over[0], &listener, sizeof listener) == sizeof listener)
			supervise(listener, argv[1]);
		_exit(1);
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
	if (listener < 0) {
		perror("seccomp");
		return 2;
	}
	if (write(hand_over[1], &listener, sizeof listener) != sizeof listener)
		return 2;
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
