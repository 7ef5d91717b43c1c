// A PKCS#11 module that is another one, and has faults: each line of the file $FAULTY_CALLS is the name of a
// function and the value (hex) that it returns instead of working, or "hang": it does not return before
// the line is gone. The file $FAULTY_CALLS.session is the same, and goes away when the module is loaded anew.
// The file $FAULTY_CALLS.logins gets a byte for each login.
#include "pkcs11go.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static CK_FUNCTION_LIST *real;

static char *place(const char *suffix, char *room, size_t size) {
	const char *path = getenv("FAULTY_CALLS");
	snprintf(room, size, "%s%s", path ? path : "/nonexistent", suffix);
	return room;
}

// fault is what a file says of a function: 0 nothing, 1 a value, 2 to hang.
static int fault(const char *suffix, const char *function, CK_RV *value) {
	char path[4096], name[64], what[64];
	int found = 0;
	FILE *f = fopen(place(suffix, path, sizeof path), "r");
	if (f == NULL)
		return 0;
	while (!found && fscanf(f, "%63s %63s", name, what) == 2) {
		if (strcmp(name, function) != 0)
			continue;
		found = strcmp(what, "hang") == 0 ? 2 : 1;
		*value = strtoul(what, NULL, 16);
	}
	fclose(f);
	return found;
}

#define SUFFER(function)                                    \
	do {                                                    \
		CK_RV value;                                        \
		int kind = fault(".session", function, &value);     \
		if (kind == 0)                                      \
			kind = fault("", function, &value);             \
		if (kind == 1)                                      \
			return value;                                   \
		if (kind == 0)                                      \
			break;                                          \
		usleep(5000);                                       \
	} while (1)

static CK_RV initialize(CK_VOID_PTR args) {
	char path[4096];
	remove(place(".session", path, sizeof path));
	SUFFER("C_Initialize");
	return real->C_Initialize(args);
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE u, CK_UTF8CHAR_PTR pin, CK_ULONG len) {
	char path[4096];
	FILE *f = fopen(place(".logins", path, sizeof path), "a");
	if (f != NULL) {
		fputc('x', f);
		fclose(f);
	}
	SUFFER("C_Login");
	return real->C_Login(s, u, pin, len);
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR s) {
	SUFFER("C_OpenSession");
	return real->C_OpenSession(slot, flags, app, notify, s);
}

static CK_RV encrypt(CK_SESSION_HANDLE s, CK_BYTE_PTR in, CK_ULONG n, CK_BYTE_PTR out, CK_ULONG_PTR m) {
	SUFFER("C_Encrypt");
	return real->C_Encrypt(s, in, n, out, m);
}

static CK_RV decrypt(CK_SESSION_HANDLE s, CK_BYTE_PTR in, CK_ULONG n, CK_BYTE_PTR out, CK_ULONG_PTR m) {
	SUFFER("C_Decrypt");
	return real->C_Decrypt(s, in, n, out, m);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
	static CK_FUNCTION_LIST mine;
	const char *path = getenv("FAULTY_MODULE");
	void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	CK_C_GetFunctionList get = module ? (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList") : NULL;
	CK_RV value = get ? get(&real) : CKR_GENERAL_ERROR;
	if (value != CKR_OK)
		return value;
	mine = *real;
	mine.C_Initialize = initialize;
	mine.C_Login = login;
	mine.C_OpenSession = open_session;
	mine.C_Encrypt = encrypt;
	mine.C_Decrypt = decrypt;
	*list = &mine;
	return CKR_OK;
}
