/*
 * Load: so many connections, each with one request after the other.
 *
 * load PORT CONNECTIONS SECONDS TOTAL FIRST RAMP EVENTS CUT_AT REQUEST SAMPLES
 *
 * It stops asking after SECONDS or TOTAL requests (0: no such bound), and then
 * waits for the answers under way. Connections open evenly over RAMP seconds.
 * REQUEST is a file with a whole request in which @@number@@ becomes FIRST,
 * FIRST + 1, …; the answer must be a 200 that says "Answer NUMBER". EVENTS is
 * 0 for plain answers; else the stream must hold "e000." up to EVENTS - 1, in
 * order, and end with [DONE]. CUT_AT events are read of each stream before the
 * connection is closed (0: it is read to its end).
 *
 * The sums are printed as JSON. SAMPLES gets doubles, in seconds: of whole
 * answers, of first events, and of each event's way from the upstream, which
 * stamps it "tMICROSECONDS".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEPT 131072 /* of a plain answer, or of a line that is not complete */
#define PATIENCE 60 /* seconds for answers that are under way at the end */

typedef struct { size_t count, size; double *values; } Samples;
typedef enum { HEAD, SIZED, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER } Part;

typedef struct {
    int fd, busy, connected, next_event, answered, done, closing;
    Part part;
    unsigned long number;
    size_t sent, left, kept;
    double asked;
    char *out, line[KEPT + 1];
} Connection;

static struct sockaddr_in address = {.sin_family = AF_INET};
static Connection **connections;
static Samples wholes, firsts, delays;
static char *request, **marks;
static size_t request_length, number_at;
static unsigned long number, begun, total, answers, errors, cut, events_read;
static double started, deadline, ended;
static int poll_fd, event_count, cut_at;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void add_sample(Samples *samples, double value) {
    if (samples->count == samples->size) {
        samples->size = samples->size ? 2 * samples->size : 4096;
        samples->values = realloc(samples->values, samples->size * sizeof(double));
    }
    samples->values[samples->count++] = value;
}

static int may_ask(void) {
    return (!total || begun < total) && (!deadline || now() < deadline);
}

static void watch(Connection *it, int operation, int write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = it};
    epoll_ctl(poll_fd, operation, it->fd, &event);
}

static void open_connection(Connection *it) {
    int one = 1;
    it->busy = it->connected = it->closing = 0;
    it->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(it->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (it->fd < 0 || (connect(it->fd, (void *)&address, sizeof address) && errno != EINPROGRESS)) {
        perror("connect");
        exit(1);
    }
    watch(it, EPOLL_CTL_ADD, 1);
}

static void reopen(Connection *it) {
    close(it->fd);
    it->fd = -1;
    it->busy = 0;
    if (may_ask() && errors < 1000) open_connection(it);
}

static void fail(Connection *it, const char *why, const char *text, size_t length) {
    int shown = length > 500 ? 500 : length;
    if (errors++ < 3) fprintf(stderr, "request %lu: %s: %.*s\n", it->number, why, shown, text);
    ended = now();
    reopen(it);
}

static int send_rest(Connection *it) {
    while (it->sent < request_length) {
        ssize_t sent = send(it->fd, it->out + it->sent, request_length - it->sent, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN;
        it->sent += sent;
        if (it->sent == request_length) it->asked = now();
    }
    return 1;
}

static void ask(Connection *it) {
    char digits[16];
    if (!may_ask()) return;
    if (!it->out) it->out = memcpy(malloc(request_length), request, request_length);
    it->number = number++;
    begun++;
    sprintf(digits, "%010lu", it->number);
    memcpy(it->out + number_at, digits, 10);
    it->busy = 1;
    it->part = HEAD;
    it->sent = it->left = it->kept = 0;
    it->next_event = it->answered = it->done = 0;
    if (!send_rest(it)) fail(it, "cannot send", strerror(errno), 100);
    else if (it->sent < request_length) watch(it, EPOLL_CTL_MOD, 1);
}

static int says_number(Connection *it, const char *text, size_t length) {
    char *at = memmem(text, length, "Answer ", 7);
    return at && at + 17 <= text + length && strtoul(at + 7, NULL, 10) == it->number;
}

static void read_line(Connection *it, const char *line, size_t length) {
    const char *end = line + length, *mark;
    if (length < 5 || memcmp(line, "data:", 5)) return;
    if (memmem(line, length < 20 ? length : 20, "[DONE]", 6)) it->done = 1;
    while (it->next_event < event_count) {
        mark = memmem(line, end - line, marks[it->next_event], 5);
        if (!mark) return;
        if (!it->next_event++) {
            it->answered = says_number(it, line, end - line);
            add_sample(&firsts, now() - it->asked);
        }
        events_read++;
        line = mark + 5;
        if (end - line < 16 || *line != 't') continue;
        add_sample(&delays, now() - strtoul(line + 1, NULL, 10) / 1e6);
    }
}

static void keep(Connection *it, const char *bytes, size_t length) {
    if (length > KEPT - it->kept) length = KEPT - it->kept;
    memcpy(it->line + it->kept, bytes, length);
    it->kept += length;
}

/* Take bytes of the body: a plain one is kept whole, of a stream the line that is open. */
static void read_body(Connection *it, const char *bytes, size_t length) {
    const char *end = bytes + length, *newline;
    while (event_count && (newline = memchr(bytes, '\n', end - bytes))) {
        if (it->kept) {
            keep(it, bytes, newline - bytes);
            read_line(it, it->line, it->kept);
            it->kept = 0;
        } else read_line(it, bytes, newline - bytes);
        bytes = newline + 1;
    }
    keep(it, bytes, end - bytes);
}

static void finish(Connection *it) {
    if (!event_count) it->answered = says_number(it, it->line, it->kept);
    else read_line(it, it->line, it->kept);
    if (!it->answered) return fail(it, "not this request's answer", it->line, it->kept);
    if (event_count && (!it->done || it->next_event < event_count)) {
        return fail(it, "the stream is not whole", it->line, it->kept);
    }
    ended = now();
    add_sample(&wholes, ended - it->asked);
    answers++;
    it->busy = 0;
    if (it->closing) reopen(it);
    else ask(it);
}

/* Take the head if it is complete; how many of these bytes it took, or -1 after a failure. */
static ssize_t read_head(Connection *it, const char *bytes, size_t length) {
    size_t room = 16384 - it->kept, part = length < room ? length : room, before = it->kept;
    memcpy(it->line + it->kept, bytes, part);
    it->kept += part;
    it->line[it->kept] = 0;
    char *end = memmem(it->line, it->kept, "\r\n\r\n", 4);
    if (!end) return part ? (ssize_t)part : (fail(it, "a long head", it->line, it->kept), -1);
    if (strncmp(it->line, "HTTP/1.1 200", 12)) return fail(it, "refused", it->line, it->kept), -1;
    end[2] = 0;
    char *sized = strcasestr(it->line, "\r\nContent-Length:");
    it->closing = strcasestr(it->line, "\r\nConnection: close") != NULL;
    it->part = sized ? SIZED : CHUNK_SIZE;
    it->left = sized ? strtoul(sized + 17, NULL, 10) : 0;
    it->kept = 0;
    return end + 4 - it->line - before;
}

/* Take what frames the chunks, up to the end of a line; where it went on. */
static const char *read_frame(Connection *it, const char *bytes, const char *end) {
    for (; bytes < end && *bytes != '\n'; bytes++) {
        if (it->part != CHUNK_SIZE || *bytes == '\r') continue;
        it->left = it->left * 16 + (*bytes <= '9' ? *bytes - '0' : (*bytes | 32) - 'a' + 10);
    }
    if (bytes == end) return end;
    if (it->part == TRAILER) finish(it); /* nobody here sends trailers */
    else if (it->part == CHUNK_END) it->part = CHUNK_SIZE;
    else it->part = it->left ? CHUNK : TRAILER;
    return bytes + 1;
}

static void take(Connection *it, const char *bytes, size_t length) {
    const char *end = bytes + length;
    while (bytes < end && it->busy) {
        size_t part = (size_t)(end - bytes) < it->left ? (size_t)(end - bytes) : it->left;
        if (it->part == HEAD) {
            ssize_t taken = read_head(it, bytes, end - bytes);
            if (taken < 0) return;
            bytes += taken;
        } else if (it->part == SIZED || it->part == CHUNK) {
            read_body(it, bytes, part);
            bytes += part;
            it->left -= part;
            if (cut_at && it->next_event >= cut_at) {
                cut++;
                ended = now();
                return reopen(it);
            }
            if (!it->left && it->part == SIZED) return finish(it);
            if (!it->left) it->part = CHUNK_END;
        } else bytes = read_frame(it, bytes, end);
    }
}

static void serve(Connection *it, unsigned ready) {
    static char bytes[262144];
    if (!it->connected && ready & EPOLLOUT) {
        it->connected = 1;
        watch(it, EPOLL_CTL_MOD, 0);
        return ask(it);
    }
    if (ready & EPOLLOUT) {
        if (!send_rest(it)) return fail(it, "cannot send", strerror(errno), 100);
        if (it->sent == request_length) watch(it, EPOLL_CTL_MOD, 0);
    }
    if (!(ready & ~EPOLLOUT)) return;
    ssize_t got = recv(it->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) take(it, bytes, got);
    else if (it->busy || !it->connected) fail(it, "closed", it->line, it->kept);
    else reopen(it);
}

static void read_request(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) perror(name), exit(1);
    fseek(file, 0, SEEK_END);
    request_length = ftell(file);
    rewind(file);
    request = malloc(request_length);
    if (fread(request, 1, request_length, file) != request_length) perror(name), exit(1);
    char *at = memmem(request, request_length, "@@number@@", 10);
    if (!at) exit(fprintf(stderr, "the request has no number\n"));
    number_at = at - request;
    fclose(file);
}

static int count_busy(int opened) {
    int busy = 0;
    for (int i = 0; i < opened; i++) busy += connections[i]->busy;
    return busy;
}

static void run(int count, double ramp) {
    struct epoll_event ready[256];
    int opened = 0;
    for (double rests = 0;;) {
        while (opened < count && now() - started >= ramp * opened / count) {
            connections[opened] = calloc(1, sizeof(Connection));
            open_connection(connections[opened++]);
        }
        int got = epoll_wait(poll_fd, ready, 256, opened < count ? 1 : 100);
        for (int i = 0; i < got; i++) serve(ready[i].data.ptr, ready[i].events);
        if (may_ask() && errors < 1000) continue;
        rests = rests ? rests : now();
        if (!count_busy(opened)) return;
        if (now() - rests < PATIENCE) continue;
        errors += count_busy(opened);
        return;
    }
}

int main(int count, char **arguments) {
    if (count != 11) exit(fprintf(stderr, "see load.c\n"));
    int connection_count = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(atoi(arguments[1]));
    total = strtoul(arguments[4], NULL, 10);
    number = strtoul(arguments[5], NULL, 10);
    event_count = atoi(arguments[7]);
    cut_at = atoi(arguments[8]);
    read_request(arguments[9]);
    connections = calloc(connection_count, sizeof *connections);
    marks = calloc(event_count, sizeof *marks);
    for (int i = 0; i < event_count; i++) asprintf(&marks[i], "e%03d.", i);
    poll_fd = epoll_create1(0);
    started = ended = now();
    deadline = seconds ? started + seconds : 0;
    run(connection_count, atof(arguments[6]));
    FILE *file = fopen(arguments[10], "wb");
    if (!file) perror(arguments[10]), exit(1);
    Samples *all[] = {&wholes, &firsts, &delays};
    for (int i = 0; i < 3; i++) {
        if (all[i]->count) fwrite(all[i]->values, sizeof(double), all[i]->count, file);
    }
    fclose(file);
    printf("{\"seconds\": %.6f, \"begun\": %lu, \"answers\": %lu, \"errors\": %lu, ",
           ended - started, begun, answers, errors);
    printf("\"cut\": %lu, \"events\": %lu, \"wholes\": %zu, \"firsts\": %zu, \"delays\": %zu}\n",
           cut, events_read, wholes.count, firsts.count, delays.count);
}
