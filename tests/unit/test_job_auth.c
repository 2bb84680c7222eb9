/* The keys auth, client_certificate, proxy, proxy_auth: what is taken, stored and refused. */
#include "tests/unit/job_fixture.h"

#define BASIC "'auth': {'type': 'basic', 'credential': 'site'}"

static void test_access_is_stored_by_name(void **state) {
    (void)state;
    expect_taken(BASIC, "{" BASIC "}");
    expect_taken(
        "'auth': {'credential': 'a.b_c@d-1', 'type': 'netrc'}, 'client_certificate': 'me', "
        "'proxy': 'socks5h://p:1', 'proxy_auth': 'p'",
        "{'auth': {'type': 'netrc', 'credential': 'a.b_c@d-1'}, 'client_certificate': 'me', "
        "'proxy': 'socks5h://p:1', 'proxy_auth': 'p'}");
    expect_taken("'auth': {'type': 'key', 'user': 'ann', 'credential': 'k'}",
                 "{'auth': {'type': 'key', 'credential': 'k', 'user': 'ann'}}");
    expect_taken("'proxy': 'none'", "{'proxy': 'none'}");
}

static void test_stored_access_becomes_a_spec(void **state) {
    struct job_spec spec;

    (void)state;
    assert_int_equal(job_spec_parse("{\"auth\": {\"type\": \"digest\", \"credential\": \"c\"}, "
                                    "\"client_certificate\": \"d\", \"proxy\": \"http://p:1\", "
                                    "\"proxy_auth\": \"e\"}",
                                    &spec),
                     0);
    assert_int_equal(spec.auth, JOB_AUTH_DIGEST);
    assert_string_equal(spec.credential, "c");
    assert_string_equal(spec.client_certificate, "d");
    assert_string_equal(spec.proxy, "http://p:1");
    assert_string_equal(spec.proxy_auth, "e");
    job_spec_done(&spec);
    assert_int_equal(job_spec_parse("{\"auth\": {\"type\": \"digest\"}}", &spec), -EBADMSG);
}

static void test_auth_is_refused_with_its_place(void **state) {
    (void)state;
    expect_refused("'auth': 'basic'",
                   ".auth: expected an object of \"type\" and \"credential\", found \"basic\"");
    expect_refused("'auth': {}", ".auth: \"type\" is missing");
    expect_refused("'auth': {'type': 'basic'}", ".auth: \"credential\" is missing");
    expect_refused("'auth': {'type': 'ntlm', 'credential': 'a'}",
                   ".auth.type: expected \"basic\", \"digest\", \"bearer\", \"netrc\" or "
                   "\"key\", found \"ntlm\"");
    expect_refused("'auth': {'type': 'basic', 'credential': 'a', 'user': 'b'}",
                   ".auth.user: is for type \"key\"; else the credential has it");
    expect_refused("'auth': {'type': 'basic', 'credential': 'a', 'users': 'b'}",
                   ".auth.users: unknown key; the keys are type, credential, user");
    expect_refused("'auth': {'type': 'key', 'credential': 'a'}", ".auth: \"user\" is missing");
    expect_refused("'auth': {'type': 'key', 'credential': 'a', 'user': 'a\\nb'}",
                   ".auth.user: expected a user's name of at most 255 bytes, found \"a\\x0ab\"");
    expect_refused("'auth': {'type': 'basic', 'credential': '../a'}",
                   ".auth.credential: expected the name of a credential: 1 to 64 letters, digits "
                   "and ._@-, no dot first, found \"../a\"");
}

static void test_names_of_credentials(void **state) {
    static const char *const bad[] = {"''", "'.a'", "'a/b'", "'a b'", "'\\u00e4'", "7", "null"};
    char key[200];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        json_auto_t *object = NULL;
        struct job_error err;
        struct job_new new;

        snprintf(key, sizeof(key), "{'url': 'http://h/', 'client_certificate': %s}", bad[i]);
        object = json(key);
        assert_int_equal(job_new_parse(object, NULL, "", 0, &new, &err), -EINVAL);
        assert_ptr_equal(strstr(err.text, "client_certificate: expected the name"), err.text);
    }
    snprintf(key, sizeof(key), "'client_certificate': '%064d'", 1);
    expect_taken(key, "{'client_certificate': "
                      "'0000000000000000000000000000000000000000000000000000000000000001'}");
}

static void test_proxies_are_refused_without_being_repeated(void **state) {
    (void)state;
#define WRITE                                                                                      \
    "; write http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT, or none for no proxy"
    expect_refused("'proxy': 'ftp://h:1'", ".proxy: the URL of the proxy is none" WRITE);
    expect_refused("'proxy': ''", ".proxy: the URL of the proxy is none" WRITE);
    expect_refused("'proxy': 'http://h'", ".proxy: the URL of the proxy names no port" WRITE);
    expect_refused("'proxy': 'http://me:secret@h:1'",
                   ".proxy: the URL of the proxy holds a user; proxy_auth names a credential for "
                   "that" WRITE);
    expect_refused("'proxy': 7", ".proxy: expected a string, found 7");
}

static void test_what_does_not_go_together(void **state) {
    (void)state;
    expect_refused(BASIC ", 'headers': {'authorization': 'x'}",
                   ": \"auth\" and an Authorization header are both given; leave one out");
    expect_error("{'url': 'http://h/', " BASIC "}", "{'headers': {'Authorization': 'x'}}",
                 "jobs[3]: \"auth\" and an Authorization header are both given; leave one out");
    expect_refused("'proxy_auth': 'a'",
                   ".proxy_auth: is for the job's own \"proxy\", which is missing");
    expect_refused(
        "'proxy': 'http://p:1', 'proxy_auth': 'a', 'headers': {'Proxy-Authorization': 'x'}",
        ": \"proxy_auth\" and a Proxy-Authorization header are both given; leave one "
        "out");
    expect_body("{'url': 'http://h/', 'proxy': 'none'}",
                "{'proxy': 'http://p:1', 'proxy_auth': 'a'}",
                "{'proxy': 'none', 'proxy_auth': 'a'}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_is_stored_by_name),
        cmocka_unit_test(test_stored_access_becomes_a_spec),
        cmocka_unit_test(test_auth_is_refused_with_its_place),
        cmocka_unit_test(test_names_of_credentials),
        cmocka_unit_test(test_proxies_are_refused_without_being_repeated),
        cmocka_unit_test(test_what_does_not_go_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
