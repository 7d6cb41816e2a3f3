/* A PKCS#11 module that passes everything on to a real one ($MISBEHAVING_REAL) and misbehaves on demand.
 *
 * $MISBEHAVING_ORDERS names a file with a line for each function that shall misbehave, read anew at every call:
 *
 *     C_Sign segv | abort | hang | fork | leak | print | return:0xNN | once:0xNN
 *     C_GenerateKeyPair careless
 *     C_GetTokenInfo flags:0xNN | blank:0xNN
 *
 * "leak" takes all the memory it may have; "once" removes its line when it is obeyed; "fork" leaves a child behind; "careless" makes a private key that can be read, whatever was asked for; "flags" are set beside the real ones; "blank" is what a token that is not initialised answers. "load" stands for the loading itself. $MISBEHAVING_COUNT names a file
 * that gets a line for every C_Login: the code that was returned.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;

static unsigned long further_flags;
static CK_RV of_blank;
static int careless;

static CK_RV obey(const char *function)
{
    const char *path = getenv("MISBEHAVING_ORDERS");
    char line[128], name[64], order[64];
    CK_RV result = CKR_OK;
    FILE *file = path ? fopen(path, "r+") : NULL;
    if (!file)
        return CKR_OK;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %63s", name, order) != 2 || strcmp(name, function))
            continue;
        if (!strcmp(order, "segv")) {
            signal(SIGSEGV, SIG_DFL);
            raise(SIGSEGV);
        }
        if (!strcmp(order, "abort"))
            abort();
        if (!strcmp(order, "hang"))
            for (;;)
                pause();
        if (!strcmp(order, "fork") && !fork())
            for (;;)
                pause();
        if (!strcmp(order, "careless"))
            careless = 1;
        if (!strcmp(order, "leak")) {
            size_t block = 1 << 20;
            for (char *more; (more = malloc(block)); )
                memset(more, 1, block);
            result = CKR_HOST_MEMORY;
        }
        if (!strcmp(order, "print")) {
            printf("{\"outcome\": {\"verdict\": \"issued\", \"text\": \"nonsense\"}}\n");
            fflush(stdout);
        }
        if (!strncmp(order, "return:", 7))
            result = strtoul(order + 7, NULL, 0);
        if (!strncmp(order, "flags:", 6))
            further_flags = strtoul(order + 6, NULL, 0);
        if (!strncmp(order, "blank:", 6))
            of_blank = strtoul(order + 6, NULL, 0);
        if (!strncmp(order, "once:", 5)) {
            result = strtoul(order + 5, NULL, 0);
            if (ftruncate(fileno(file), 0))
                abort();
        }
    }
    fclose(file);
    return result;
}

static void count(CK_RV result)
{
    const char *path = getenv("MISBEHAVING_COUNT");
    int file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (file < 0)
        return;
    dprintf(file, "0x%lx\n", (unsigned long)result);
    close(file);
}

#define PASS_ON(function, parameters, arguments)  \
    static CK_RV our_##function parameters        \
    {                                             \
        CK_RV result = obey(#function);           \
        return result ? result : real->function arguments; \
    }

PASS_ON(C_Initialize, (void *a), (a))
PASS_ON(C_GetSlotList, (unsigned char present, CK_SLOT_ID *list, unsigned long *n), (present, list, n))
PASS_ON(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *a, CK_NOTIFY notify, CK_SESSION_HANDLE *session),
        (slot, flags, a, notify, session))
PASS_ON(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *what, unsigned long n), (session, what, n))
PASS_ON(C_CreateObject, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *what, unsigned long n, CK_OBJECT_HANDLE *made),
        (session, what, n, made))
PASS_ON(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object), (session, object))
PASS_ON(C_SignInit, (CK_SESSION_HANDLE session, CK_MECHANISM *how, CK_OBJECT_HANDLE key), (session, how, key))
PASS_ON(C_Sign, (CK_SESSION_HANDLE session, unsigned char *data, unsigned long n, unsigned char *out, unsigned long *m),
        (session, data, n, out, m))

static CK_RV our_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV result;
    further_flags = 0;
    of_blank = CKR_OK;
    result = obey("C_GetTokenInfo");
    if (!result)
        result = real->C_GetTokenInfo(slot, info);
    if (!result && of_blank && !(info->flags & CKF_TOKEN_INITIALIZED))
        result = of_blank;
    if (!result)
        info->flags |= further_flags;
    return result;
}

static CK_RV our_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *how, CK_ATTRIBUTE *a, unsigned long na,
                                   CK_ATTRIBUTE *b, unsigned long nb, CK_OBJECT_HANDLE *x, CK_OBJECT_HANDLE *y)
{
    CK_RV result;
    careless = 0;
    result = obey("C_GenerateKeyPair");
    for (unsigned long i = 0; careless && i < nb; i++) {
        if (b[i].type == CKA_EXTRACTABLE)
            *(CK_BBOOL *)b[i].pValue = CK_TRUE;
        if (b[i].type == CKA_SENSITIVE)
            *(CK_BBOOL *)b[i].pValue = CK_FALSE;
    }
    return result ? result : real->C_GenerateKeyPair(session, how, a, na, b, nb, x, y);
}

static CK_RV our_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, unsigned long n)
{
    CK_RV result = obey("C_Login");
    if (!result)
        result = real->C_Login(session, user, pin, n);
    count(result);
    return result;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    obey("load");
    if (!real) {
        void *module = dlopen(getenv("MISBEHAVING_REAL"), RTLD_NOW | RTLD_LOCAL);
        CK_RV (*get)(CK_FUNCTION_LIST **) = module ? (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(module, "C_GetFunctionList") : NULL;
        if (!get || get(&real))
            return CKR_GENERAL_ERROR;
        ours = *real;
#define OURS(function) ours.function = our_##function
        OURS(C_Initialize);
        OURS(C_GetSlotList);
        OURS(C_GetTokenInfo);
        OURS(C_OpenSession);
        OURS(C_Login);
        OURS(C_FindObjectsInit);
        OURS(C_CreateObject);
        OURS(C_DestroyObject);
        OURS(C_GenerateKeyPair);
        OURS(C_SignInit);
        OURS(C_Sign);
        ours.C_GetFunctionList = C_GetFunctionList;
    }
    *list = &ours;
    return CKR_OK;
}
