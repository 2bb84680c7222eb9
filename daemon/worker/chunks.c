#include "daemon/worker/chunks.h"

#include "common/util.h"

#define DIGITS_MAX 16

static int hex_value(unsigned char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(unsigned char c) {
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static enum chunks_state take_size(struct chunks *c, unsigned char byte) {
    int value = hex_value(byte);

    if (value >= 0 && c->digits < DIGITS_MAX) {
        c->left = c->left << 4 | (unsigned)value;
        c->digits++;
        return c->left > INT64_MAX ? CHUNKS_WRONG : CHUNKS_SIZE;
    }
    if (c->digits == 0 || value >= 0)
        return CHUNKS_WRONG;
    if (byte == ' ' || byte == '\t')
        return CHUNKS_BLANK;
    if (byte == ';')
        return CHUNKS_EXTENSION;
    return byte == '\r' ? CHUNKS_SIZE_LF : CHUNKS_WRONG;
}

static enum chunks_state take_blank(unsigned char byte) {
    if (byte == ' ' || byte == '\t')
        return CHUNKS_BLANK;
    if (byte == ';')
        return CHUNKS_EXTENSION;
    return byte == '\r' ? CHUNKS_SIZE_LF : CHUNKS_WRONG;
}

static enum chunks_state take_size_end(struct chunks *c, unsigned char byte) {
    c->digits = c->line = 0;
    if (byte != '\n')
        return CHUNKS_WRONG;
    return c->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER;
}

/* The lines of a trailer end as leniently as those of a header. */
static enum chunks_state take_trailer(struct chunks *c, unsigned char byte) {
    switch (c->state) {
    case CHUNKS_TRAILER:
        c->line = 0;
        if (byte == '\r')
            return CHUNKS_LAST_LF;
        if (byte == '\n')
            return CHUNKS_ENDED;
        return byte > ' ' && byte != ':' && byte < 0x7f ? CHUNKS_NAME : CHUNKS_WRONG;
    case CHUNKS_NAME:
        if (byte == ':')
            return CHUNKS_VALUE;
        return byte > ' ' && byte < 0x7f ? CHUNKS_NAME : CHUNKS_WRONG;
    default:
        if (byte == '\n')
            return CHUNKS_TRAILER;
        return is_text(byte) || byte == '\r' ? CHUNKS_VALUE : CHUNKS_WRONG;
    }
}

static enum chunks_state take(struct chunks *c, unsigned char byte) {
    switch (c->state) {
    case CHUNKS_SIZE:
        return take_size(c, byte);
    case CHUNKS_BLANK:
        return take_blank(byte);
    case CHUNKS_EXTENSION:
        if (byte == '\r')
            return CHUNKS_SIZE_LF;
        return is_text(byte) ? CHUNKS_EXTENSION : CHUNKS_WRONG;
    case CHUNKS_SIZE_LF:
        return take_size_end(c, byte);
    case CHUNKS_DATA_CR:
        return byte == '\r' ? CHUNKS_DATA_LF : CHUNKS_WRONG;
    case CHUNKS_DATA_LF:
        return byte == '\n' ? CHUNKS_SIZE : CHUNKS_WRONG;
    case CHUNKS_LAST_LF:
        return byte == '\n' ? CHUNKS_ENDED : CHUNKS_WRONG;
    default:
        return take_trailer(c, byte);
    }
}

size_t chunks_add(struct chunks *c, const char *p, size_t n) {
    size_t i = 0;

    while (i < n && c->state < CHUNKS_ENDED) {
        if (c->state == CHUNKS_DATA) {
            size_t some = (size_t)MIN(c->left, (uint64_t)(n - i));

            c->left -= some;
            i += some;
            if (c->left == 0)
                c->state = CHUNKS_DATA_CR;
            continue;
        }
        c->state = ++c->line > CHUNKS_LINE_MAX ? CHUNKS_WRONG : take(c, (unsigned char)p[i]);
        if (c->state != CHUNKS_WRONG)
            i++;
    }
    return i;
}
