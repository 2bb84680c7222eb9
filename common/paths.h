/*
 * paths.h - where things are unless someone says otherwise.
 *
 * Two sets of places: the system's (/etc/dld, /run/dld, /var/lib/dld), for root and for what
 * systemd started with a $STATE_DIRECTORY, and the user's own (XDG base directories), for everyone
 * else. XDG variables that are empty or relative don't count, as their specification says.
 *
 * All results are absolute, new strings. Errors: -ENOMEM, -ENXIO where a variable or the home
 * directory that is needed isn't known, or the negative errno of getcwd().
 */
#ifndef DLD_PATHS_H
#define DLD_PATHS_H

#include <stdbool.h>
#include <sys/un.h>

/* Bytes that the path of a socket may have. */
#define PATH_SOCKET_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* Which set of places: true for the system's. */
bool path_is_system(void);

/* "dir/name" */
int path_join(const char *dir, const char *name, char **ret);

/* Relative to the current directory, "~/..." to the home directory. Nothing is resolved: the path
 * need not exist. */
int path_absolute(const char *path, char **ret);

/* The first directory of a list as systemd sets it ("STATE_DIRECTORY"). 1 with *ret, 0: not set. */
int path_from_systemd(const char *variable, char **ret);

/* The control socket: $DLD_SOCKET, else /run/dld/control.sock or $XDG_RUNTIME_DIR/dld/control.sock.
 * -ENXIO: neither DLD_SOCKET nor XDG_RUNTIME_DIR is set; ask for --socket. */
int path_default_socket(char **ret);

/* dld.conf: $CONFIGURATION_DIRECTORY/, else /etc/dld/ or $XDG_CONFIG_HOME/dld/. */
int path_default_config(char **ret);

/* The directory of credentials: $CREDENTIALS_DIRECTORY, else /etc/dld/credentials or
 * $XDG_CONFIG_HOME/dld/credentials. */
int path_default_credentials(char **ret);

/* The state directory: $STATE_DIRECTORY, else /var/lib/dld or $XDG_STATE_HOME/dld. */
int path_default_state(char **ret);

#endif
