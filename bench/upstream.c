/*
 * An upstream that plays scripts: upstream PORT NAME=FILE...
 *
 * A request names its script and its own number: somewhere in its body stands
 * "Ask NAME 0123456789". Each number may come once; GET /count tells, as JSON,
 * what came. A script (bench/answers.py) is "INTERVAL HOLD\n", microseconds
 * between packets and whether the answer stays open after the last one, and
 * then each packet as "LENGTH\n" and its bytes. In them @@number@@ becomes the
 * request's number and @@microseconds@ the monotonic time of sending.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NUMBER "@@number@@"
#define MOMENT "@@microseconds@"
#define SCRIPTS 16
#define SLOTS 64

typedef struct { size_t at; int moment; } Slot;
typedef struct { size_t length; char *bytes; int slot_count; Slot slots[SLOTS]; } Packet;

typedef struct Connection Connection;

typedef struct {
    char *name;
    size_t name_length;
    long interval;
    int hold, packet_count;
    Packet *packets;
    Connection *first, *last; /* who waits for its next packet, the next one first */
} Script;

struct Connection {
    int fd, next_packet, waiting, lost, wants_write;
    unsigned long number;
    long due;
    Script *script; /* NULL: no answer is under way */
    char *in, *out;
    size_t in_length, in_size, out_length, out_sent, out_size;
    Connection *later;
};

static Script scripts[SCRIPTS];
static int script_count, poll_fd;
static unsigned char *seen;
static size_t seen_size;
static long requests, repeated, others, cut, open_answers;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void find_slots(Packet *packet) {
    static const char *marks[] = {NUMBER, MOMENT};
    for (int moment = 0; moment < 2; moment++) {
        char *end = packet->bytes + packet->length, *at = packet->bytes;
        while ((at = memmem(at, end - at, marks[moment], strlen(marks[moment])))) {
            if (packet->slot_count == SLOTS) exit(fprintf(stderr, "too many marks in a packet\n"));
            packet->slots[packet->slot_count].at = at - packet->bytes;
            packet->slots[packet->slot_count++].moment = moment;
            at += strlen(marks[moment]);
        }
    }
}

static void load_script(char *argument) {
    Script *script = &scripts[script_count++];
    char *file_name = strchr(argument, '=');
    FILE *file = file_name ? fopen(file_name + 1, "rb") : NULL;
    size_t length;
    if (!file || script_count > SCRIPTS) fail(argument);
    *file_name = 0;
    script->name = argument;
    script->name_length = strlen(argument);
    if (fscanf(file, "%ld %d\n", &script->interval, &script->hold) != 2) fail(argument);
    while (fscanf(file, "%zu", &length) == 1 && fgetc(file) == '\n') {
        script->packets = realloc(script->packets, sizeof(Packet) * (script->packet_count + 1));
        Packet *packet = &script->packets[script->packet_count++];
        *packet = (Packet){.length = length, .bytes = malloc(length)};
        if (fread(packet->bytes, 1, length, file) != length) fail(argument);
        find_slots(packet);
    }
    fclose(file);
}

static void watch(Connection *it, int write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = it};
    if (write != it->wants_write) epoll_ctl(poll_fd, EPOLL_CTL_MOD, it->fd, &event);
    it->wants_write = write;
}

static void drop(Connection *it) {
    if (it->script) cut++, open_answers--;
    it->script = NULL;
    if (it->fd >= 0) close(it->fd);
    it->fd = -1;
    it->lost = 1;
    if (it->waiting) return; /* freed when its turn comes */
    free(it->in);
    free(it->out);
    free(it);
}

/* Whether all that was to be written is; lost is set when it cannot be. */
static int flush(Connection *it) {
    while (it->out_sent < it->out_length) {
        size_t left = it->out_length - it->out_sent;
        ssize_t sent = send(it->fd, it->out + it->out_sent, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return 0;
        if (sent < 0) return it->lost = 1, 0;
        it->out_sent += sent;
    }
    it->out_sent = it->out_length = 0;
    return 1;
}

static char *reserve(Connection *it, size_t length) {
    if (it->out_length + length > it->out_size) {
        it->out_size = it->out_length + length;
        it->out = realloc(it->out, it->out_size);
    }
    it->out_length += length;
    return it->out + it->out_length - length;
}

static void add_packet(Connection *it) {
    Packet *packet = &it->script->packets[it->next_packet++];
    char *to = reserve(it, packet->length), digits[32];
    memcpy(to, packet->bytes, packet->length);
    for (int i = 0; i < packet->slot_count; i++) {
        int moment = packet->slots[i].moment;
        long value = moment ? now() : (long)it->number;
        int length = sprintf(digits, moment ? "%015ld" : "%010ld", value);
        memcpy(to + packet->slots[i].at, digits, length);
    }
}

static void wait_turn(Connection *it) {
    Script *script = it->script;
    it->due += script->interval;
    it->waiting = 1;
    it->later = NULL;
    if (script->last) script->last->later = it;
    else script->first = it;
    script->last = it;
}

static void take_requests(Connection *it);

/* Send the next packet, one a turn: others are served in between. */
static void play(Connection *it) {
    if (it->script && !it->out_length && it->next_packet < it->script->packet_count) add_packet(it);
    int written = flush(it);
    if (it->lost) return drop(it);
    if (!written || !it->script) return watch(it, !written);
    int ended = it->next_packet == it->script->packet_count;
    if (ended && !it->script->hold) {
        it->script = NULL;
        open_answers--;
        watch(it, 0);
        return take_requests(it);
    }
    if (!ended && it->script->interval) wait_turn(it);
    watch(it, !ended && !it->script->interval);
}

static void note(unsigned long number) {
    size_t at = number / 8;
    if (at >= seen_size) {
        size_t size = 2 * at + 65536;
        seen = realloc(seen, size);
        memset(seen + seen_size, 0, size - seen_size);
        seen_size = size;
    }
    requests++;
    if (seen[at] & 1 << number % 8) repeated++;
    seen[at] |= 1 << number % 8;
}

static void add(Connection *it, const char *bytes, size_t length) {
    memcpy(reserve(it, length), bytes, length);
}

static void add_counts(Connection *it) {
    static const char start[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    char body[256], head[64];
    int length = sprintf(body,
        "{\"requests\": %ld, \"repeated\": %ld, \"others\": %ld, \"cut\": %ld, \"open\": %ld}",
        requests, repeated, others, cut, open_answers);
    add(it, start, sizeof start - 1);
    add(it, head, sprintf(head, "Content-Length: %d\r\n\r\n", length));
    add(it, body, length);
}

static Script *find_script(const char *name, size_t left) {
    for (Script *script = scripts; script < scripts + script_count; script++) {
        size_t length = script->name_length;
        if (left < length + 11 || name[length] != ' ') continue;
        if (!memcmp(name, script->name, length)) return script;
    }
    return NULL;
}

static void begin(Connection *it, const char *body, size_t length) {
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const char *ask = memmem(body, length, "Ask ", 4);
    Script *script = ask ? find_script(ask + 4, body + length - ask - 4) : NULL;
    if (script) {
        it->number = strtoul(ask + 4 + script->name_length, NULL, 10);
        it->script = script;
        it->next_packet = 0;
        it->due = now();
        note(it->number);
        open_answers++;
    } else if (!strncmp(it->in, "GET /count ", 11)) add_counts(it);
    else {
        others++;
        add(it, missing, sizeof missing - 1);
    }
    play(it);
}

static void take_requests(Connection *it) {
    if (it->script || !it->in_length) return;
    it->in[it->in_length] = 0;
    char *end = memmem(it->in, it->in_length, "\r\n\r\n", 4);
    if (!end) return;
    end[2] = 0;
    char *given = strcasestr(it->in, "\r\nContent-Length:");
    end[2] = '\r';
    size_t length = given ? strtoul(given + 17, NULL, 10) : 0, whole = end + 4 - it->in + length;
    if (it->in_length < whole) return;
    it->in_length = 0; /* nobody sends a second request before the first is answered */
    begin(it, end + 4, length);
}

static void take_bytes(Connection *it) {
    if (it->in_size < it->in_length + 4096) {
        it->in_size = it->in_size ? it->in_size * 4 : 4096;
        it->in = realloc(it->in, it->in_size + 1);
    }
    ssize_t got = recv(it->fd, it->in + it->in_length, it->in_size - it->in_length, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(it);
    it->in_length += got;
    take_requests(it);
}

static void take_connections(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Connection *it = calloc(1, sizeof *it);
        it->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

/* Play what is due; how long until the next is, in milliseconds, -1 for ever. */
static int play_due(void) {
    long wait = -1;
    for (int i = 0; i < script_count; i++) {
        Script *script = &scripts[i];
        Connection *it;
        while ((it = script->first) && (it->lost || it->due <= now())) {
            script->first = it->later;
            if (!it->later) script->last = NULL;
            it->waiting = 0;
            if (it->lost) drop(it);
            else play(it);
        }
        if (!it) continue;
        long left = it->due > now() ? it->due - now() : 0;
        if (wait < 0 || left < wait) wait = left;
    }
    return wait < 0 ? -1 : (int)(wait / 1000 + 1);
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.ptr = NULL};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    if (count < 3) exit(fprintf(stderr, "upstream PORT NAME=FILE...\n"));
    for (int i = 2; i < count; i++) load_script(arguments[i]);
    address.sin_port = htons(atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) fail("listen");
    poll_fd = epoll_create1(0);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll_fd, events, 256, play_due());
        for (int i = 0; i < ready; i++) {
            Connection *it = events[i].data.ptr;
            if (!it) take_connections(listener);
            else if (events[i].events & ~EPOLLOUT) take_bytes(it);
            else play(it);
        }
    }
}
