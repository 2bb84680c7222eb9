/*
 * config_file.h - one configuration file into a struct config.
 *
 * The grammar is libinih's, less what surprises: "[section]", "key = value" or "key: value",
 * whole-line comments that start with '#' or ';', and " ;" begins a comment after a value. Blanks
 * at the start of a line mean nothing, so a value can't go on in the next line. A key may be given
 * once.
 */
#ifndef DLD_CONFIG_FILE_H
#define DLD_CONFIG_FILE_H

#include "daemon/config_keys.h"

#define CONFIG_LINE_MAX 190           /* bytes of a line */
#define CONFIG_FILE_MAX (1024 * 1024) /* bytes of a file */
#define CONFIG_FILES_MAX 256          /* files of one directory */

/* Reads path. All that is wrong in it is reported to e, each with "path:line". Returns -ENOENT, and
 * reports nothing, when there is no such file; else 0. */
int config_file_read(const char *path, struct config *c, struct config_errors *e);

/* Reads *.conf of a directory in the order of their names' bytes; there may be none, or no
 * directory. */
void config_directory_read(const char *path, struct config *c, struct config_errors *e);

#endif
