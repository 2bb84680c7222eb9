#include "daemon/store_wal.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define GATHER_MAX (120 << 10) /* SQLite writes less than 128 KiB at a time */

/* The default VFS's file of the same log lies behind it. */
struct wal_file {
    sqlite3_file base;
    unsigned char *gathered;
    sqlite3_int64 offset; /* where that goes */
    size_t n;
};

static sqlite3_vfs wal_vfs;

static sqlite3_vfs *below(void) {
    return wal_vfs.pAppData;
}

static sqlite3_file *real(struct wal_file *wal) {
    return (sqlite3_file *)(wal + 1);
}

/* What could not be written is dropped: its transaction has failed. */
static int flush(struct wal_file *wal) {
    size_t n = wal->n;

    wal->n = 0;
    if (n == 0)
        return SQLITE_OK;
    return real(wal)->pMethods->xWrite(real(wal), wal->gathered, (int)n, wal->offset);
}

static int wal_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
    struct wal_file *wal = (struct wal_file *)file;
    size_t n = (size_t)size;

    if (offset != wal->offset + (sqlite3_int64)wal->n || n > GATHER_MAX - wal->n) {
        int r = flush(wal);
        if (r != SQLITE_OK)
            return r;
        wal->offset = offset;
    }
    if (n > GATHER_MAX)
        return real(wal)->pMethods->xWrite(real(wal), data, size, offset);
    memcpy(wal->gathered + wal->n, data, n);
    wal->n += n;
    return SQLITE_OK;
}

static int wal_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset) {
    struct wal_file *wal = (struct wal_file *)file;
    int r = flush(wal);

    return r != SQLITE_OK ? r : real(wal)->pMethods->xRead(real(wal), data, size, offset);
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size) {
    struct wal_file *wal = (struct wal_file *)file;
    int r = flush(wal);

    return r != SQLITE_OK ? r : real(wal)->pMethods->xTruncate(real(wal), size);
}

static int wal_sync(sqlite3_file *file, int flags) {
    struct wal_file *wal = (struct wal_file *)file;
    int r = flush(wal);

    return r != SQLITE_OK ? r : real(wal)->pMethods->xSync(real(wal), flags);
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *ret) {
    struct wal_file *wal = (struct wal_file *)file;
    int r = flush(wal);

    return r != SQLITE_OK ? r : real(wal)->pMethods->xFileSize(real(wal), ret);
}

static int wal_close(sqlite3_file *file) {
    struct wal_file *wal = (struct wal_file *)file;
    int r = flush(wal), k = real(wal)->pMethods->xClose(real(wal));

    free(wal->gathered);
    return r != SQLITE_OK ? r : k;
}

/* Logs are not locked, their databases are. */
static int wal_lock(sqlite3_file *file, int level) {
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int wal_is_locked(sqlite3_file *file, int *ret) {
    (void)file;
    *ret = 0;
    return SQLITE_OK;
}

static int wal_control(sqlite3_file *file, int op, void *arg) {
    struct wal_file *wal = (struct wal_file *)file;

    return real(wal)->pMethods->xFileControl(real(wal), op, arg);
}

static int wal_sector_size(sqlite3_file *file) {
    struct wal_file *wal = (struct wal_file *)file;

    return real(wal)->pMethods->xSectorSize(real(wal));
}

static int wal_characteristics(sqlite3_file *file) {
    struct wal_file *wal = (struct wal_file *)file;

    return real(wal)->pMethods->xDeviceCharacteristics(real(wal));
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_lock,
    .xCheckReservedLock = wal_is_locked,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector_size,
    .xDeviceCharacteristics = wal_characteristics,
};

static int wal_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret) {
    struct wal_file *wal = (struct wal_file *)file;
    int r;

    (void)vfs;
    if (!(flags & SQLITE_OPEN_WAL))
        return below()->xOpen(below(), name, file, flags, ret);
    *wal = (struct wal_file){.gathered = malloc(GATHER_MAX)};
    if (!wal->gathered)
        return SQLITE_NOMEM;
    r = below()->xOpen(below(), name, real(wal), flags, ret);
    if (r == SQLITE_OK)
        wal->base.pMethods = &wal_methods;
    else
        free(wal->gathered);
    return r;
}

int store_wal_register(void) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

    if (!vfs)
        return -ENOMEM;
    if (sqlite3_vfs_find(STORE_WAL_VFS))
        return 0;
    wal_vfs = *vfs;
    wal_vfs.zName = STORE_WAL_VFS;
    wal_vfs.pAppData = vfs;
    wal_vfs.szOsFile += (int)sizeof(struct wal_file);
    wal_vfs.xOpen = wal_open;
    return sqlite3_vfs_register(&wal_vfs, 0) == SQLITE_OK ? 0 : -ENOMEM;
}
