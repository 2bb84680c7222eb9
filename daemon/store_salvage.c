#include "daemon/store_salvage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "daemon/job.h"
#include "daemon/store_cells.h"
#include "daemon/store_row.h"

#define DEPTH_MAX 20 /* of a tree */

#define FREELIST_AT 32            /* in the header: the first trunk page */
#define POINTERS (IMAGE_PAGE / 5) /* pages that a page of back pointers tells of */
#define POINTER_FREE 2
#define LOCK_PAGE (0x40000000 / IMAGE_PAGE + 1) /* is never used */

enum mark {
    MARK_FREE = 1,    /* the list of free pages has it */
    MARK_POINTER = 2, /* its back pointer says that it is free */
    MARK_SEEN = 4,    /* a tree led to it */
};

struct table {
    const char *name, *into;
    bool by_rowid;
    int n_columns;
    char types[CELL_COLUMNS_MAX]; /* 'I', 'T', or 0: any */
    sqlite3_stmt *insert;
    uint32_t root; /* 0: not found */
};

struct salvage {
    sqlite3 *sqlite;
    const struct image *image;
    uint8_t *marks; /* owned; by page */
    uint64_t unreadable;
    struct table tables[6];
};

/* meta first: it is the one that others' rows could be taken for. */
static const struct table known[] = {
    {.name = "meta", .into = "old_meta"},
    {.name = "counters", .into = "old_counters", .by_rowid = true},
    {.name = "batches", .into = "batches", .by_rowid = true},
    {.name = "lanes", .into = "old_lanes", .by_rowid = true},
    {.name = "jobs", .into = "jobs", .by_rowid = true},
    {.name = "attempts", .into = "attempts"},
};

/* ---- rows ---- */

static bool text_is_sound(const struct value *v) {
    for (size_t i = 0, n; i < v->n; i += n) {
        n = v->text[i] ? utf8_sequence(v->text + i, v->n - i) : 0;
        if (n == 0)
            return false;
    }
    return true;
}

static bool row_fits(const struct table *t, const struct row *row) {
    if (row->n_values != (size_t)t->n_columns || (t->by_rowid && row->rowid < 0))
        return false;
    for (int i = 0; i < t->n_columns; i++) {
        const struct value *v = &row->values[i];

        if (v->type == VALUE_TEXT ? t->types[i] == 'I' || !text_is_sound(v)
                                  : v->type != VALUE_NULL && v->type != VALUE_INTEGER)
            return false;
        if (v->type == VALUE_INTEGER && t->types[i] == 'T')
            return false;
    }
    return true;
}

/* id, state, batch, idx, lane, rank, created, url: the first columns of jobs. */
static int job_is_sound(const struct row *row) {
    int64_t state = row->values[1].integer;
    const struct value *url = &row->values[7];
    _cleanup_free_ char *text = NULL, *host = NULL;

    if (row->rowid == 0 || row->values[1].type != VALUE_INTEGER || state < 0 || state >= JOB_STATE_MAX_ ||
        state == JOB_ACTIVE || row->values[2].integer <= 0 || row->values[3].integer < 0 ||
        url->type != VALUE_TEXT)
        return 0;
    text = strndup(url->text, url->n);
    if (!text)
        return -ENOMEM;
    int r = row_url_host(text, &host);
    return r == -ENOMEM ? r : r >= 0;
}

static int row_insert(const struct table *t, const struct row *row) {
    int r = streq(t->name, "jobs") ? job_is_sound(row) : 1;

    if (r <= 0)
        return r;
    for (int i = 0; i < t->n_columns; i++) {
        const struct value *v = &row->values[i];

        if (i == 0 && t->by_rowid)
            sqlite3_bind_int64(t->insert, 1, row->rowid);
        else if (v->type == VALUE_INTEGER)
            sqlite3_bind_int64(t->insert, i + 1, v->integer);
        else if (v->type == VALUE_TEXT)
            sqlite3_bind_text(t->insert, i + 1, v->text, (int)v->n, SQLITE_STATIC);
        else
            sqlite3_bind_null(t->insert, i + 1);
    }
    r = sqlite3_step(t->insert);
    sqlite3_reset(t->insert);
    if (r != SQLITE_DONE)
        return r == SQLITE_CONSTRAINT ? 0 : r == SQLITE_FULL ? -ENOSPC : -EIO;
    return 1;
}

/* The rows of a page of that table; NULL: of any, where other rows are no damage. */
static int page_take(struct salvage *s, const struct cells *c, const struct table *only) {
    int r = 1;

    for (unsigned i = 0; i < c->n && r >= 0; i++) {
        struct row row;
        bool taken = false;

        r = cells_row(c, i, &row);
        for (size_t k = 0; k < ELEMENTSOF(s->tables) && r > 0 && !taken; k++) {
            const struct table *t = &s->tables[k];

            if ((only && t != only) || t->by_rowid != (c->kind == PAGE_TABLE_LEAF) ||
                !row_fits(t, &row))
                continue;
            taken = true;
            r = row_insert(t, &row);
        }
        if (r == 0 || (only && !taken))
            s->unreadable++;
        row_done(&row);
    }
    return MIN(r, 0);
}

/* ---- trees ---- */

static int tree_take(struct salvage *s, const struct table *t, uint32_t number, int depth) {
    struct cells c;

    if (number == 0 || number > s->image->n_pages || depth > DEPTH_MAX ||
        s->marks[number] & MARK_SEEN ||
        (s->marks[number] & (MARK_FREE | MARK_POINTER)) == (MARK_FREE | MARK_POINTER)) {
        s->unreadable++;
        return 0;
    }
    int r = cells_open(&c, s->image, number);
    if (r < 0)
        return r;
    if (r == 0 || (c.kind == PAGE_TABLE_LEAF || c.kind == PAGE_TABLE_INNER) != t->by_rowid) {
        s->unreadable++;
        return 0;
    }
    s->marks[number] |= MARK_SEEN;
    if (c.kind != PAGE_TABLE_INNER)
        r = page_take(s, &c, t);
    if (c.kind == PAGE_TABLE_INNER || c.kind == PAGE_INDEX_INNER)
        for (unsigned i = 0; i <= c.n && r >= 0; i++)
            r = tree_take(s, t, cells_child(&c, i), depth + 1);
    return r;
}

/* A row of sqlite_schema: type, name, table, root page, SQL. */
static void schema_row(struct salvage *s, const struct row *row) {
    const struct value *v = row->values;

    if (row->n_values != 5 || v[0].n != 5 || memcmp(v[0].text, "table", 5) != 0 ||
        v[1].type != VALUE_TEXT || v[3].type != VALUE_INTEGER || v[3].integer <= 0 ||
        v[3].integer > s->image->n_pages)
        return;
    for (size_t k = 0; k < ELEMENTSOF(s->tables); k++)
        if (strlen(s->tables[k].name) == v[1].n &&
            memcmp(s->tables[k].name, v[1].text, v[1].n) == 0)
            s->tables[k].root = (uint32_t)v[3].integer;
}

static int roots_find(struct salvage *s, uint32_t number, int depth) {
    struct cells c;
    int r = depth > DEPTH_MAX ? 0 : cells_open(&c, s->image, number);

    if (r <= 0) {
        s->unreadable++;
        return r;
    }
    for (unsigned i = 0; c.kind == PAGE_TABLE_INNER && i <= c.n && r >= 0; i++)
        r = roots_find(s, cells_child(&c, i), depth + 1);
    for (unsigned i = 0; c.kind == PAGE_TABLE_LEAF && i < c.n && r >= 0; i++) {
        struct row row;

        r = cells_row(&c, i, &row);
        if (r > 0)
            schema_row(s, &row);
        row_done(&row);
    }
    return MIN(r, 0);
}

/* ---- pages that are free ---- */

static int free_list(struct salvage *s) {
    uint8_t page[IMAGE_PAGE];
    int r = image_page(s->image, 1, page);
    uint32_t trunk = r < 0 ? 0 : image_u32(page + FREELIST_AT);

    for (uint32_t n = 0; r >= 0 && trunk > 1 && trunk <= s->image->n_pages &&
                         n < s->image->n_pages && !(s->marks[trunk] & MARK_FREE);
         n++) {
        s->marks[trunk] |= MARK_FREE;
        r = image_page(s->image, trunk, page);
        uint32_t leaves = r < 0 ? 0 : MIN(image_u32(page + 4), (uint32_t)IMAGE_PAGE / 4 - 2);
        for (uint32_t i = 0; i < leaves; i++) {
            uint32_t leaf = image_u32(page + 8 + 4 * i);

            if (leaf > 1 && leaf <= s->image->n_pages)
                s->marks[leaf] |= MARK_FREE;
        }
        trunk = image_u32(page);
    }
    return MIN(r, 0);
}

static int pointers_read(struct salvage *s) {
    uint8_t page[IMAGE_PAGE];

    for (uint64_t at = 2; at <= s->image->n_pages; at += POINTERS + 1) {
        uint64_t number = at == LOCK_PAGE ? at + 1 : at;
        int r = number <= s->image->n_pages ? image_page(s->image, (uint32_t)number, page) : 0;

        if (r < 0)
            return r;
        for (uint64_t i = 0; i < POINTERS && number + 1 + i <= s->image->n_pages; i++)
            if (page[5 * i] == POINTER_FREE)
                s->marks[number + 1 + i] |= MARK_POINTER;
        if (number <= s->image->n_pages)
            s->marks[number] |= MARK_SEEN;
    }
    return 0;
}

/* What nothing leads to. */
static int rest_take(struct salvage *s) {
    for (uint32_t n = 2; n <= s->image->n_pages; n++) {
        struct cells c;

        if (s->marks[n] != 0)
            continue;
        int r = cells_open(&c, s->image, n);
        if (r > 0 && c.kind != PAGE_TABLE_INNER)
            r = page_take(s, &c, NULL);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- all of it ---- */

static int table_prepare(struct salvage *s, struct table *t) {
    char sql[1024];
    sqlite3_stmt *st = NULL;

    snprintf(sql, sizeof(sql), "SELECT * FROM %s", t->name);
    if (sqlite3_prepare_v2(s->sqlite, sql, -1, &st, NULL) != SQLITE_OK)
        return -EIO;
    t->n_columns = MIN(sqlite3_column_count(st), CELL_COLUMNS_MAX);
    for (int i = 0; i < t->n_columns; i++) {
        const char *type = sqlite3_column_decltype(st, i);

        t->types[i] = type ? type[0] : '\0';
    }
    sqlite3_finalize(st);
    size_t n = (size_t)snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO %s VALUES(?", t->into);
    for (int i = 1; i < t->n_columns; i++)
        n += (size_t)snprintf(sql + n, sizeof(sql) - n, ",?");
    snprintf(sql + n, sizeof(sql) - n, ")");
    return sqlite3_prepare_v2(s->sqlite, sql, -1, &t->insert, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int tables_prepare(struct salvage *s) {
    static const char temporary[] =
        "CREATE TEMP TABLE old_lanes AS SELECT * FROM lanes WHERE 0;"
        "CREATE UNIQUE INDEX old_lanes_id ON old_lanes(id);"
        "CREATE TEMP TABLE old_counters AS SELECT * FROM counters WHERE 0;"
        "CREATE UNIQUE INDEX old_counters_state ON old_counters(state);"
        "CREATE TEMP TABLE old_meta AS SELECT * FROM meta WHERE 0;"
        "CREATE UNIQUE INDEX old_meta_name ON old_meta(name);";
    int r = sqlite3_exec(s->sqlite, temporary, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;

    for (size_t k = 0; k < ELEMENTSOF(s->tables) && r >= 0; k++) {
        s->tables[k] = known[k];
        r = table_prepare(s, &s->tables[k]);
    }
    return r;
}

int salvage(sqlite3 *sqlite, const struct image *image, uint64_t *ret_unreadable) {
    _cleanup_free_ uint8_t *marks = calloc((size_t)image->n_pages + 1, 1);
    struct salvage s = {.sqlite = sqlite, .image = image, .marks = marks};
    int r = marks ? tables_prepare(&s) : -ENOMEM;

    if (r >= 0 && image->n_pages > 0)
        r = free_list(&s);
    if (r >= 0)
        r = pointers_read(&s);
    if (r >= 0)
        r = roots_find(&s, 1, 0);
    for (size_t k = 0; k < ELEMENTSOF(s.tables) && r >= 0; k++)
        if (s.tables[k].root > 0)
            r = tree_take(&s, &s.tables[k], s.tables[k].root, 0);
    if (r >= 0)
        r = rest_take(&s);
    for (size_t k = 0; k < ELEMENTSOF(s.tables); k++)
        sqlite3_finalize(s.tables[k].insert);
    *ret_unreadable = s.unreadable;
    return r;
}
