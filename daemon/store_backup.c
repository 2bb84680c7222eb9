#include "daemon/store_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/util.h"
#include "daemon/store_request.h"
#include "daemon/store_schema.h"

/* A client that asks for nothing for so long, or hasn't got all after so long, has lost it: the log
 * grows meanwhile. */
#define IDLE_MAX (30 * USEC_PER_SEC)
#define WHOLE_MAX (UINT64_C(3600) * USEC_PER_SEC)

#define APPLICATION_ID_AT 68 /* in the header of an SQLite file */
#define HEADER_SIZE 100

/* More jobs and batches than anyone submits between a backup and its restoring. */
#define IDS_LEFT_OUT "1000000000"
#define BATCHES_LEFT_OUT "1000000"

struct backup {
    struct request request;
    int64_t number;
    uint64_t offset;
    store_backup_fn *fn;
    void *userdata;
    bool granted; /* also when it is run again */
    struct store_piece piece;
    char *text;
};

bool backup_holds(const struct db *db) {
    return db->backup.number != 0 && now_usec(CLOCK_MONOTONIC) < db->backup.until;
}

static sqlite3_file *main_file(struct db *db) {
    sqlite3_file *file = NULL;

    if (sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        !file || !file->pMethods)
        return NULL;
    return file;
}

/* Nothing may be written in this transaction before. */
static int backup_begin(struct db *db, struct backup *q) {
    sqlite3_file *file = main_file(db);
    int frames = 0, moved = 0;
    sqlite3_int64 size;

    if (backup_holds(db)) {
        q->request.error = -EBUSY;
        return 0;
    }
    if (sqlite3_txn_state(db->sqlite, "main") != SQLITE_TXN_NONE)
        return -EAGAIN; /* it is run again, alone */
    if (sqlite3_wal_checkpoint_v2(db->sqlite, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved) !=
        SQLITE_OK)
        return db_error(db);
    if (moved != frames || !file || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return -EIO;
    db->wal_frames = 0;
    q->number = (int64_t)now_usec(CLOCK_REALTIME);
    db->backup.number = q->number;
    db->backup.size = (uint64_t)size;
    db->backup.end = now_usec(CLOCK_MONOTONIC) + WHOLE_MAX;
    return 0;
}

static int piece_read(struct db *db, struct backup *q, uint8_t *data, size_t n) {
    sqlite3_file *file = main_file(db);

    if (!file || file->pMethods->xRead(file, data, (int)n, (sqlite3_int64)q->offset) != SQLITE_OK)
        return -EIO;
    if (q->offset == 0 && n >= HEADER_SIZE)
        for (int i = 0; i < 4; i++)
            data[APPLICATION_ID_AT + i] = (uint8_t)(BACKUP_APPLICATION_ID >> (24 - 8 * i));
    return 0;
}

static int piece_make(struct db *db, struct backup *q) {
    size_t n = (size_t)MIN(db->backup.size - q->offset, (uint64_t)STORE_PIECE);
    _cleanup_free_ uint8_t *data = malloc(n + 1);

    q->text = malloc(BASE64_LENGTH(n) + 1);
    if (!data || !q->text)
        return -ENOMEM;
    int r = piece_read(db, q, data, n);
    if (r < 0)
        return r;
    base64_encode(q->text, data, n);
    q->piece = (struct store_piece){
        .number = q->number,
        .size = db->backup.size,
        .next = q->offset + n,
        .base64 = q->text,
        .length = BASE64_LENGTH(n),
    };
    return 0;
}

static int backup_run(struct db *db, struct request *r) {
    struct backup *q = (struct backup *)r;
    int k = 0;

    if (q->granted)
        ;
    else if (q->number == 0 && q->offset == 0)
        k = backup_begin(db, q);
    else if (!backup_holds(db) || q->number != db->backup.number)
        r->error = -ESTALE;
    else if (q->offset > db->backup.size)
        r->error = -EINVAL;
    if (k < 0 || r->error < 0)
        return k;
    q->granted = true;
    k = piece_make(db, q);
    if (k < 0)
        return k;
    db->backup.until = MIN(now_usec(CLOCK_MONOTONIC) + IDLE_MAX, db->backup.end);
    if (q->piece.next == q->piece.size)
        db->backup.number = 0;
    return 0;
}

static void backup_clear(struct request *r) {
    struct backup *q = (struct backup *)r;

    free(TAKE_PTR(q->text));
    q->piece = (struct store_piece){0};
}

static void backup_deliver(struct request *r) {
    struct backup *q = (struct backup *)r;

    q->fn(q->userdata, r->error, &q->piece);
}

static void backup_free(struct request *r) {
    free(r);
}

static const struct request_kind backup_kind = {
    .name = "backup",
    .run = backup_run,
    .clear = backup_clear,
    .deliver = backup_deliver,
    .free = backup_free,
};

int store_backup(struct store *s, int64_t number, uint64_t offset, store_backup_fn *fn,
                 void *userdata) {
    struct backup *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    *q = (struct backup){{.kind = &backup_kind}, number, offset, fn, userdata, false, {0}, NULL};
    store_enqueue(s, &q->request);
    return 0;
}

/* ---- a queue that comes from one ---- */

int backup_find(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    _cleanup_free_ char *log = NULL, *old = NULL;
    uint8_t id[4];

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (pread(fd, id, sizeof(id), APPLICATION_ID_AT) != sizeof(id) ||
        ((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]) !=
            BACKUP_APPLICATION_ID)
        return 0;
    if (asprintf(&log, "%s-wal", path) < 0)
        return -ENOMEM;
    if (asprintf(&old, "%s.old", log) < 0)
        return -ENOMEM;
    return rename(log, old) < 0 && errno != ENOENT ? -errno : 1;
}

/* The log is moved at once: until then the file says that it is a copy, and its log would be put
 * aside by the next start. */
int backup_adopt(sqlite3 *sqlite) {
    char sql[512];

    snprintf(sql, sizeof(sql),
             "BEGIN IMMEDIATE;"
             "UPDATE meta SET value = value + " IDS_LEFT_OUT " WHERE name = 'next_job';"
             "UPDATE meta SET value = value + " BATCHES_LEFT_OUT " WHERE name = 'next_batch';"
             "UPDATE meta SET value = 1 WHERE name = 'open';"
             "PRAGMA application_id = %d; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
             SCHEMA_APPLICATION_ID);
    return sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}
