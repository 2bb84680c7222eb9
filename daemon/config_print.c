#include <string.h>

#include "daemon/config_keys.h"

#define LINE_WIDTH 78

/* Comment lines of at most LINE_WIDTH bytes, broken at blanks. */
static void print_wrapped(FILE *out, const char *text) {
    while (*text) {
        size_t n = strlen(text);

        if (n > LINE_WIDTH - 2) {
            n = LINE_WIDTH - 2;
            while (n > 1 && text[n] != ' ')
                n--;
        }
        fprintf(out, "# %.*s\n", (int)n, text);
        text += n;
        text += *text == ' ';
    }
}

static void print_key(const struct config_key *k, FILE *out) {
    _cleanup_(buf_done) struct buf allowed = BUF_INIT(4096);
    const char *text;

    buf_adds(&allowed, "Allowed: ");
    config_key_describe(k, &allowed);
    buf_addc(&allowed, '.');
    text = buf_cstr(&allowed);

    fprintf(out, "\n");
    print_wrapped(out, k->help);
    if (text)
        print_wrapped(out, text);
    fprintf(out, "#%s =%s%s\n", k->name, *k->standard ? " " : "", k->standard);
}

void config_print(FILE *out) {
    const char *section = "";

    print_wrapped(out, "dld.conf - configuration of dld(8), explained in dld.conf(5).");
    fprintf(out, "#\n");
    print_wrapped(out, "Each key is shown with its default; remove the '#' before it to change it. "
                       "What is set here yields to dld.conf.d/*.conf beside this file, those to "
                       "the environment (DLD_RETRY_BASE=2s), and that to the command line (--set "
                       "retry.base=2s). `dld --check-config` finds mistakes.");
    for (size_t i = 0; i < config_n_keys; i++) {
        if (!streq(config_keys[i].section, section)) {
            section = config_keys[i].section;
            fprintf(out, "\n[%s]\n", section);
        }
        print_key(&config_keys[i], out);
    }
}
