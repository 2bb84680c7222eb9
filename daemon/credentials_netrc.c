#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/credentials.h"

#define BLANKS " \t\r\n"

/* Reads words one by one; each is ended with a NUL where it stands. */
struct reader {
    char *p;
    bool at_line; /* behind the word before came the end of its line */
    bool broken;  /* a quoted word has no end */
};

static void skip_line(struct reader *r) {
    r->p += strcspn(r->p, "\n");
    r->p += *r->p == '\n';
}

/* Takes in the blank behind a word, which becomes its end. */
static void end_word(struct reader *r, char *end) {
    r->at_line = *r->p == '\n';
    if (*r->p)
        r->p++;
    *end = '\0';
}

static char unescape(char c) {
    return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
}

/* "...", in which \ stands before " and \. */
static char *read_quoted(struct reader *r) {
    char *word = ++r->p, *to = word;

    for (; *r->p != '"'; r->p++) {
        if (*r->p == '\\' && r->p[1])
            *to++ = unescape(*++r->p);
        else if (*r->p && *r->p != '\n')
            *to++ = *r->p;
        else
            break;
    }
    r->broken = *r->p != '"';
    if (!r->broken)
        r->p++;
    end_word(r, to);
    return word;
}

/* NULL at the end. */
static char *read_word(struct reader *r, bool comments) {
    char *word;

    r->p += strspn(r->p, BLANKS);
    while (comments && *r->p == '#') {
        skip_line(r);
        r->p += strspn(r->p, BLANKS);
    }
    if (!*r->p)
        return NULL;
    if (*r->p == '"')
        return read_quoted(r);
    word = r->p;
    r->p += strcspn(r->p, BLANKS);
    end_word(r, r->p);
    return word;
}

/* Its definition goes up to an empty line. */
static void skip_macro(struct reader *r) {
    if (!r->at_line)
        skip_line(r);
    while (*r->p && !strchr("\r\n", *r->p))
        skip_line(r);
}

/* Behind "machine" or "default": whether the entry that begins is the one for this host. */
static bool read_entry(struct reader *r, const char *word, const char *host, bool may_default) {
    const char *name;

    if (streq(word, "default"))
        return may_default;
    name = read_word(r, false);
    return name && strcasecmp(name, host) == 0;
}

/* All words that mean something; false: there is another one. */
static bool read_item(struct reader *r, const char *word, struct credential *to) {
    bool login = streq(word, "login"), password = streq(word, "password");
    const char *value;

    if (streq(word, "macdef")) {
        (void)read_word(r, false);
        skip_macro(r);
        return true;
    }
    if (!login && !password && !streq(word, "account"))
        return false;
    value = read_word(r, false);
    if (to && login)
        to->user = value;
    if (to && password)
        to->secret = value;
    return value != NULL;
}

static bool fits(const char *s, size_t max) {
    size_t n = strlen(s);

    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return n <= max;
}

static int refuse(struct credential *c, const char *name, const char *what,
                  char why[CREDENTIAL_WHY_MAX]) {
    c->user = c->secret = NULL;
    snprintf(why, CREDENTIAL_WHY_MAX, "the netrc file in the credential %s %s", name, what);
    return -ENOKEY;
}

int credential_netrc(struct credential *c, const char *name, const char *host, bool may_default,
                     char why[CREDENTIAL_WHY_MAX]) {
    struct reader r = {.p = c->text};
    bool wanted = false;
    const char *word;

    while ((word = read_word(&r, true)) && !r.broken) {
        bool begins = streq(word, "machine") || streq(word, "default");

        if (begins && wanted)
            break;
        if (begins)
            wanted = read_entry(&r, word, host, may_default);
        else if (!read_item(&r, word, wanted ? c : NULL))
            return refuse(c, name,
                          "has a word that is none of machine, default, login, password, account "
                          "and macdef, or nothing behind one",
                          why);
    }
    if (r.broken)
        return refuse(c, name, "has a \" without its other end", why);
    if (!wanted)
        return 0;
    if (!c->user || !c->secret)
        return refuse(c, name, "has no login, or no password, for this host", why);
    if (!fits(c->user, CREDENTIAL_USER_MAX) || strchr(c->user, ':') ||
        !fits(c->secret, CREDENTIAL_PASSWORD_MAX))
        return refuse(
            c, name, "has a login or a password that is too long, or has a character it can't have",
            why);
    return 1;
}
