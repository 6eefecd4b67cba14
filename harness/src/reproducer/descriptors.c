
/* A descriptor that went through a socket. */
static int passed(int fd) {
    int pair[2];
    char byte = 0, control[CMSG_SPACE(sizeof fd)];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    need(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    need(sendmsg(pair[0], &message, 0), "sendmsg");
    need(recvmsg(pair[1], &message, 0), "recvmsg");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    close(pair[0]), close(pair[1]);
    return fd;
}

/* A number that was open and is closed. */
static int closed(int number) {
    int other = need(open("/", O_PATH), "open");
    need(dup2(other, number), "dup2");
    close(other), close(number);
    return number;
}
