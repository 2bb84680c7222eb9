/*
 * log.h - messages for whoever runs the program.
 *
 * To the journal with structured fields when stderr is the journal's stream (JOURNAL_STREAM), else
 * one line on stderr: `dld: text`. Either a function logs an error or it returns it, never both.
 */
#ifndef DLD_LOG_H
#define DLD_LOG_H

#include <stdint.h>
#include <syslog.h>

#include "util.h"

/* name is put before each line on stderr and must outlive the program; level is the least urgent
 * syslog priority that is written. */
void log_init(const char *name, int level);

/* Another level from now on. */
void log_set_level(int level);

void log_at(int level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_at(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_at(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* What a log line is about; fields that are 0 or NULL are left out of the journal entry. */
struct log_about {
    int64_t job;        /* JOB_ID= */
    const char *host;   /* URL_HOST= */
    int worker;         /* WORKER=, numbered from 1 */
    const char *error;  /* ERROR_NAME= */
    const char *msg_id; /* MESSAGE_ID=, 32 hex digits, one for each kind of event */
};
void log_about(int level, const struct log_about *about, const char *fmt, ...) _printf_(3, 4);

/* Passes on a line that another process wrote, one with that number: on stderr as it is. */
void log_pass_on(int worker, const char *line);

/* One per kind of event (sd-id128). */
#define MSG_WORKER_DIED "5c1f0d0e6b0f4c0d9f1f4f3b7a0e1d01"
#define MSG_WORKER_STUCK "5c1f0d0e6b0f4c0d9f1f4f3b7a0e1d04"
#define MSG_JOB_FAILED "5c1f0d0e6b0f4c0d9f1f4f3b7a0e1d02"
#define MSG_STORE_ERROR "5c1f0d0e6b0f4c0d9f1f4f3b7a0e1d03"

#endif
