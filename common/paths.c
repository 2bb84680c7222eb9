#include "common/paths.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

/* An environment variable; one that is empty counts as not set. */
static const char *variable_get(const char *name) {
    const char *s = getenv(name);
    return s && *s ? s : NULL;
}

bool path_is_system(void) {
    return geteuid() == 0 || variable_get("STATE_DIRECTORY");
}

int path_join(const char *dir, const char *name, char **ret) {
    size_t n = strlen(dir);
    bool slash = n > 0 && dir[n - 1] == '/';
    char *s;
    if (asprintf(&s, "%s%s%s", dir, slash ? "" : "/", name) < 0)
        return -ENOMEM;
    *ret = s;
    return 0;
}

/* A static string or one of the environment's. */
static const char *home_dir(void) {
    const char *home = variable_get("HOME");
    if (!home) {
        const struct passwd *pw = getpwuid(geteuid());
        home = pw ? pw->pw_dir : NULL;
    }
    return home && home[0] == '/' ? home : NULL;
}

int path_absolute(const char *path, char **ret) {
    if (path[0] == '/') {
        char *copy = strdup(path);
        if (!copy)
            return -ENOMEM;
        *ret = copy;
        return 0;
    }
    if (path[0] == '~' && path[1] == '/') {
        const char *home = home_dir();
        return home ? path_join(home, path + 2, ret) : -ENXIO;
    }
    _cleanup_free_ char *cwd = getcwd(NULL, 0);
    return cwd ? path_join(cwd, path, ret) : -errno;
}

int path_from_systemd(const char *variable, char **ret) {
    const char *list = variable_get(variable);
    if (!list || list[0] != '/')
        return 0;
    char *first = strndup(list, strcspn(list, ":"));
    if (!first)
        return -ENOMEM;
    *ret = first;
    return 1;
}

/* name beneath the XDG directory that variable holds, or beneath fallback ("~/..."; NULL: none). */
static int xdg_path(const char *variable, const char *fallback, const char *name, char **ret) {
    const char *dir = variable_get(variable);
    if (dir && dir[0] == '/')
        return path_join(dir, name, ret);
    if (!fallback)
        return -ENXIO;
    _cleanup_free_ char *home = NULL;
    int r = path_absolute(fallback, &home);
    return r < 0 ? r : path_join(home, name, ret);
}

int path_default_socket(char **ret) {
    const char *socket = variable_get("DLD_SOCKET");
    if (socket)
        return path_absolute(socket, ret);
    if (path_is_system())
        return path_absolute("/run/dld/control.sock", ret);
    return xdg_path("XDG_RUNTIME_DIR", NULL, "dld/control.sock", ret);
}

int path_default_config(char **ret) {
    _cleanup_free_ char *dir = NULL;
    int r = path_from_systemd("CONFIGURATION_DIRECTORY", &dir);
    if (r != 0)
        return r < 0 ? r : path_join(dir, "dld.conf", ret);
    if (path_is_system())
        return path_absolute("/etc/dld/dld.conf", ret);
    return xdg_path("XDG_CONFIG_HOME", "~/.config", "dld/dld.conf", ret);
}

int path_default_credentials(char **ret) {
    int r = path_from_systemd("CREDENTIALS_DIRECTORY", ret);
    if (r != 0)
        return MIN(r, 0);
    if (path_is_system())
        return path_absolute("/etc/dld/credentials", ret);
    return xdg_path("XDG_CONFIG_HOME", "~/.config", "dld/credentials", ret);
}

int path_default_state(char **ret) {
    int r = path_from_systemd("STATE_DIRECTORY", ret);
    if (r != 0)
        return MIN(r, 0);
    if (path_is_system())
        return path_absolute("/var/lib/dld", ret);
    return xdg_path("XDG_STATE_HOME", "~/.local/state", "dld", ret);
}
