//go:build pkcs11

package pkcs11

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"

	"culvert/internal/outage"
	"culvert/keys"
)

// returned is the value that a function of a module returned, as an error.
type returned uint

func (r returned) Error() string {
	if _, name, ok := strings.Cut(pkcs11.Error(r).Error(), "CKR_"); ok {
		return "CKR_" + name
	}
	return fmt.Sprintf("return value %#x", uint(r)) // a vendor's own, or one of a later standard
}

// ckrAEADDecryptFailed is of PKCS#11 3.0, which the package does not know.
const ckrAEADDecryptFailed = 0x35

var (
	// errDead is a connection that does not open what it once sealed.
	errDead = errors.New("the token does not open what it sealed before")
	// errClosed is a key after [Key.Close], or one whose last attempt to connect has failed.
	errClosed = errors.New("not connected")
)

// valueOf finds the return value in an error of crypto11, which keeps the text alone of what C_Encrypt and
// C_Decrypt return.
func valueOf(err error) (returned, bool) {
	if err == nil {
		return 0, false
	}
	var (
		mine  returned
		typed pkcs11.Error
	)
	switch {
	case errors.As(err, &mine):
		return mine, true
	case errors.As(err, &typed):
		return returned(typed), true
	}
	_, text, found := strings.Cut(err.Error(), "pkcs11: 0x")
	digits, _, closed := strings.Cut(text, ":")
	value, parseErr := strconv.ParseUint(digits, 16, 64)
	return returned(value), found && closed && parseErr == nil
}

// isAny tells whether err is one of the return values.
func isAny(err error, values ...returned) bool {
	value, ok := valueOf(err)
	return ok && slices.Contains(values, value)
}

// isLost tells whether the connection is to blame, and another one might do better.
func isLost(err error) bool {
	return errors.Is(err, errDead) || errors.Is(err, errClosed) || isAny(err,
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_TOKEN_NOT_PRESENT,
		pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
		pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OPERATION_ACTIVE)
}

// isVague tells whether the bytes may be to blame as well as the token. Which value means a wrong tag is
// each vendor's choice.
func isVague(err error) bool {
	return isAny(err,
		pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_ENCRYPTED_DATA_INVALID,
		pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID, pkcs11.CKR_SIGNATURE_INVALID, ckrAEADDecryptFailed)
}

// isPINRefused tells whether the token counts this as an attempt that has failed, or has had too many.
func isPINRefused(err error) bool {
	return isAny(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE,
		pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED)
}

// isRefused tells whether the token says no for good.
func isRefused(err error) bool {
	return isPINRefused(err) || isAny(err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT,
		pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_FUNCTION_NOT_SUPPORTED)
}

// failed maps an error to the three kinds of [keys.RootKey]. Of what comes from outside it keeps the
// return value alone, else the type.
func failed(op string, err error) error {
	value, ok := valueOf(err)
	switch {
	case errors.Is(err, keys.ErrTampered):
		return keys.ErrTampered
	case errors.Is(err, keys.ErrRefused), errors.As(err, new(mistake)), outage.Of(err) != nil:
		return err
	case isRefused(err):
		return refused(op, value)
	case ok:
		return down(op, value)
	case errors.Is(err, errDead), errors.Is(err, errClosed):
		return down(op, err)
	}
	return down(op, fmt.Errorf("no answer (%T)", err))
}

// mistake is what is wrong with a [Config], and no answer of a token.
type mistake string

func (m mistake) Error() string { return "pkcs11: " + string(m) }

func refused(op string, why error) error {
	return fmt.Errorf("pkcs11: %s: %w: %w", op, keys.ErrRefused, why)
}

func down(op string, cause error) error {
	return &outage.Error{Dependency: outage.RootKey, Cause: fmt.Errorf("pkcs11: %s: %w", op, cause)}
}
