/* A PKCS#11 module for tests: hands every call to the real module, and on
 * demand fails, hangs or spoils the answer.
 *
 * FIRMSEAL_SHIM_MODULE names the real module, FIRMSEAL_SHIM_DIR a directory:
 *   calls          one line for each call that is watched
 *   C_Sign, ...    a fault for the next calls of that function:
 *                    fail RV COUNT     return RV (hexadecimal), COUNT times
 *                    spoil COUNT       flip a bit of the signature
 *                    closeall COUNT    close all sessions, then go on
 *                    finalize COUNT    finalize the module, then go on
 *                    hang COUNT        wait until the fifo `gate` is opened
 *   sessions       most sessions that may be open at once (decimal)
 *   flags          flags to add to every token's (hexadecimal)
 *   rawpoint       if there, CKA_EC_POINT comes without its OCTET STRING
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef struct {
    unsigned char version[2];
    void *call[68];
} list_t;
typedef struct {
    ulong_t type;
    unsigned char *value;
    ulong_t length;
} attribute_t;

/* Places in CK_FUNCTION_LIST (PKCS #11 v2.40). */
enum { INITIALIZE = 0, FINALIZE = 1, TOKEN_INFO = 6, OPEN = 12, CLOSE = 13, CLOSE_ALL = 14, LOGIN = 18, ATTRIBUTES = 24, SIGN = 43 };

#define CKA_EC_POINT 0x181
#define UNAVAILABLE (~0ul)

static list_t *real;
static list_t ours;
static ulong_t last_slot;
static int open_sessions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void path(char *out, size_t size, const char *name) {
    const char *dir = getenv("FIRMSEAL_SHIM_DIR");
    snprintf(out, size, "%s/%s", dir ? dir : ".", name);
}

static void note(const char *name) {
    char file[512], line[64];
    path(file, sizeof file, "calls");
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT, 0600);
    int length = snprintf(line, sizeof line, "%s\n", name);
    if (fd < 0 || write(fd, line, (size_t)length) != length) abort();
    close(fd);
}

static void hang(void) {
    char file[512];
    path(file, sizeof file, "gate");
    int fd = open(file, O_RDONLY); /* waits for a writer */
    if (fd >= 0) close(fd);
}

/* Takes one use of the fault of a function. Returns the value to return
 * instead of calling, or 0; sets spoil. */
static ulong_t fault(const char *name, int *spoil) {
    char file[512], what[16] = "";
    ulong_t rv = 0;
    int count = 0;
    pthread_mutex_lock(&lock);
    path(file, sizeof file, name);
    FILE *in = fopen(file, "r");
    if (in) {
        if (fscanf(in, "%15s", what) != 1) what[0] = 0;
        if (!strcmp(what, "fail") && fscanf(in, "%lx", &rv) != 1) rv = 5;
        if (fscanf(in, "%d", &count) != 1) count = 0;
        fclose(in);
        if (count > 1) {
            FILE *out = fopen(file, "r+"); /* unless the test took it away meanwhile */
            if (out && ftruncate(fileno(out), 0)) abort();
            if (out && rv) fprintf(out, "fail %lx %d\n", rv, count - 1);
            else if (out) fprintf(out, "%s %d\n", what, count - 1);
            if (out) fclose(out);
        } else {
            unlink(file);
        }
    }
    pthread_mutex_unlock(&lock);
    if (count < 1) return 0;
    if (!strcmp(what, "closeall")) ((ulong_t(*)(ulong_t))real->call[CLOSE_ALL])(last_slot);
    if (!strcmp(what, "finalize")) ((ulong_t(*)(void *))real->call[FINALIZE])(NULL);
    if (!strcmp(what, "closeall") || !strcmp(what, "finalize")) open_sessions = 0;
    if (!strcmp(what, "hang")) hang();
    if (spoil) *spoil = !strcmp(what, "spoil");
    return rv;
}

static ulong_t c_initialize(void *args) {
    note("C_Initialize");
    return ((ulong_t(*)(void *))real->call[INITIALIZE])(args);
}

static ulong_t c_token_info(ulong_t slot, unsigned char *info) {
    ulong_t rv = fault("C_GetTokenInfo", NULL);
    if (rv) return rv;
    rv = ((ulong_t(*)(ulong_t, unsigned char *))real->call[TOKEN_INFO])(slot, info);
    char file[512];
    path(file, sizeof file, "flags");
    FILE *in = rv ? NULL : fopen(file, "r");
    if (in) {
        ulong_t flags, more = 0;
        if (fscanf(in, "%lx", &more) != 1) more = 0;
        fclose(in);
        memcpy(&flags, info + 96, sizeof flags); /* after four names */
        flags |= more;
        memcpy(info + 96, &flags, sizeof flags);
    }
    return rv;
}

static ulong_t c_open(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
    note("C_OpenSession");
    last_slot = slot;
    ulong_t rv = fault("C_OpenSession", NULL);
    if (rv) return rv;
    char file[512];
    int most = 0;
    path(file, sizeof file, "sessions");
    FILE *in = fopen(file, "r");
    if (in) {
        if (fscanf(in, "%d", &most) != 1) most = 0;
        fclose(in);
        if (open_sessions >= most) return 0xb1; /* CKR_SESSION_COUNT */
    }
    rv = ((ulong_t(*)(ulong_t, ulong_t, void *, void *, ulong_t *))real->call[OPEN])(slot, flags, application,
                                                                                  notify, session);
    if (rv == 0) open_sessions++;
    return rv;
}

static ulong_t c_close(ulong_t session) {
    note("C_CloseSession");
    ulong_t rv = fault("C_CloseSession", NULL);
    if (rv) return rv;
    rv = ((ulong_t(*)(ulong_t))real->call[CLOSE])(session);
    if (rv == 0) open_sessions--;
    return rv;
}

static ulong_t c_login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t length) {
    note("C_Login");
    ulong_t rv = fault("C_Login", NULL);
    if (rv) return rv;
    return ((ulong_t(*)(ulong_t, ulong_t, unsigned char *, ulong_t))real->call[LOGIN])(session, user, pin, length);
}

static ulong_t c_attributes(ulong_t session, ulong_t object, attribute_t *list, ulong_t count) {
    ulong_t rv = fault("C_GetAttributeValue", NULL);
    if (rv) return rv;
    rv = ((ulong_t(*)(ulong_t, ulong_t, attribute_t *, ulong_t))real->call[ATTRIBUTES])(session, object,
                                                                                             list, count);
    char file[512];
    path(file, sizeof file, "rawpoint");
    for (ulong_t at = 0; at < count && access(file, F_OK) == 0; at++) {
        attribute_t *a = &list[at];
        if (a->type != CKA_EC_POINT || a->length == UNAVAILABLE || a->length < 3) continue;
        if (a->value) {
            a->length -= 2;
            memmove(a->value, a->value + 2, a->length);
        }
    }
    return rv;
}

static ulong_t c_sign(ulong_t session, unsigned char *data, ulong_t length, unsigned char *signature, ulong_t *size) {
    int spoil = 0;
    ulong_t rv = 0;
    if (signature) { /* else it only asks for the length */
        note("C_Sign");
        rv = fault("C_Sign", &spoil);
        if (rv) return rv;
    }
    rv = ((ulong_t(*)(ulong_t, unsigned char *, ulong_t, unsigned char *, ulong_t *))real->call[SIGN])(
        session, data, length, signature, size);
    if (spoil && rv == 0) signature[*size / 2] ^= 1;
    return rv;
}

ulong_t C_GetFunctionList(list_t **out) {
    if (!real) {
        const char *module = getenv("FIRMSEAL_SHIM_MODULE");
        void *library = module ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
        ulong_t (*get)(list_t **) = NULL;
        if (library) *(void **)&get = dlsym(library, "C_GetFunctionList");
        if (!get || get(&real)) return 5; /* CKR_GENERAL_ERROR */
        ours = *real;
        ours.call[INITIALIZE] = (void *)c_initialize;
        ours.call[TOKEN_INFO] = (void *)c_token_info;
        ours.call[OPEN] = (void *)c_open;
        ours.call[CLOSE] = (void *)c_close;
        ours.call[LOGIN] = (void *)c_login;
        ours.call[ATTRIBUTES] = (void *)c_attributes;
        ours.call[SIGN] = (void *)c_sign;
    }
    *out = &ours;
    return 0;
}
