//! The rim: pointers come in, safe values go on. The one module with `unsafe`.
//!
//! What every function here relies on is what PKCS #11 v2.40 §5 demands of
//! callers: a pointer is null or valid for the length that stands beside it,
//! for as long as the call takes, and nobody else writes there meanwhile.
//! Nothing is kept of a pointer after the call, null is looked for before
//! each use, lengths of ours are compared before anything is written, and no
//! panic crosses into C.

#![allow(unsafe_code, reason = "a C interface hands pointers over; see above what is relied on")]
#![allow(non_snake_case, reason = "names are PKCS #11's")]
#![allow(clippy::missing_safety_doc, reason = "the contract is PKCS #11's, and stands above")]

mod list;
mod memory;

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use self::memory::{input, padded, put, put_all};
use crate::fault::{Fault, Result};
use crate::module::{Asking, Module, SLOT, all_mechanisms};
use crate::object::Seen;
use crate::operation::Pss;

static MODULE: Mutex<Option<Module>> = Mutex::new(None);

/// Most attributes in a template, and most bytes of one: more is nothing that
/// could be found here.
const TEMPLATE_MAX: usize = 64;
const ATTRIBUTE_MAX: usize = 64 * 1024;

fn lock() -> MutexGuard<'static, Option<Module>> {
    MODULE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a call to its end; a panic is a bug of ours, and stays here.
fn call(work: impl FnOnce() -> Result) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Fault(value))) => value,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

fn with<T>(work: impl FnOnce(&mut Module) -> Result<T>) -> Result<T> {
    work(lock().as_mut().ok_or(Fault(CKR_CRYPTOKI_NOT_INITIALIZED))?)
}

const NONE: CK_VERSION = CK_VERSION { major: 0, minor: 0 };

unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    call(|| {
        if !arguments.is_null() {
            // SAFETY: what is not null is CK_C_INITIALIZE_ARGS (§5.4).
            let given = unsafe { *arguments.cast::<CK_C_INITIALIZE_ARGS>() };
            if !given.pReserved.is_null() {
                return Err(Fault(CKR_ARGUMENTS_BAD));
            }
            // Names are looked up on a thread of our own, and locks are the
            // system's.
            if given.flags & CKF_LIBRARY_CANT_CREATE_OS_THREADS != 0 {
                return Err(Fault(CKR_NEED_TO_CREATE_THREADS));
            }
            if given.CreateMutex.is_some() && given.flags & CKF_OS_LOCKING_OK == 0 {
                return Err(Fault(CKR_CANT_LOCK));
            }
        }
        let mut module = lock();
        if module.is_some() {
            return Err(Fault(CKR_CRYPTOKI_ALREADY_INITIALIZED));
        }
        *module = Some(Module::open()?);
        Ok(())
    })
}

unsafe extern "C" fn C_Finalize(_: *mut c_void) -> CK_RV {
    call(|| lock().take().map(drop).ok_or(Fault(CKR_CRYPTOKI_NOT_INITIALIZED)))
}

unsafe extern "C" fn C_GetInfo(info: *mut CK_INFO) -> CK_RV {
    let value = CK_INFO {
        cryptokiVersion: CK_VERSION { major: 2, minor: 40 },
        manufacturerID: padded("Firmseal"),
        flags: 0,
        libraryDescription: padded("Firmseal signing service"),
        libraryVersion: CK_VERSION { major: 0, minor: 1 },
    };
    // SAFETY: `put` looks for null; the rest is the contract above.
    call(|| with(|_| Ok(())).and_then(|()| unsafe { put(info, value) }))
}

unsafe extern "C" fn C_GetSlotList(_: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    // SAFETY: as above.
    call(|| with(|_| Ok(())).and_then(|()| unsafe { put_all(&[SLOT], slots, count) }))
}

fn known(slot: CK_SLOT_ID) -> Result {
    if slot == SLOT { Ok(()) } else { Err(Fault(CKR_SLOT_ID_INVALID)) }
}

unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    let value = CK_SLOT_INFO {
        slotDescription: padded("Firmseal signing service"),
        manufacturerID: padded("Firmseal"),
        flags: CKF_TOKEN_PRESENT,
        hardwareVersion: NONE,
        firmwareVersion: NONE,
    };
    // SAFETY: as above.
    call(|| with(|_| known(slot)).and_then(|()| unsafe { put(info, value) }))
}

unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let unknown = CK_UNAVAILABLE_INFORMATION;
    let value = CK_TOKEN_INFO {
        label: padded("firmseal"),
        manufacturerID: padded("Firmseal"),
        model: padded("service"),
        serialNumber: padded("1"),
        // Nobody logs in: whoever reads the configuration and its token is in.
        flags: CKF_TOKEN_INITIALIZED | CKF_WRITE_PROTECTED,
        ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
        ulSessionCount: unknown,
        ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: unknown,
        ulMaxPinLen: 255,
        ulMinPinLen: 0,
        ulTotalPublicMemory: unknown,
        ulFreePublicMemory: unknown,
        ulTotalPrivateMemory: unknown,
        ulFreePrivateMemory: unknown,
        hardwareVersion: NONE,
        firmwareVersion: NONE,
        utcTime: padded(""),
    };
    // SAFETY: as above.
    call(|| with(|_| known(slot)).and_then(|()| unsafe { put(info, value) }))
}

unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: as above.
    call(|| with(|_| known(slot)).and_then(|()| unsafe { put_all(&all_mechanisms(), list, count) }))
}

unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    call(|| {
        with(|_| known(slot))?;
        if !all_mechanisms().contains(&mechanism) {
            return Err(Fault(CKR_MECHANISM_INVALID));
        }
        let (ulMinKeySize, ulMaxKeySize, more) = match mechanism {
            CKM_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS_PSS | CKM_RSA_PKCS | CKM_SHA256_RSA_PKCS => {
                (2048, 4096, 0)
            }
            CKM_EDDSA => (256, 256, 0),
            _ => (256, 384, CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS),
        };
        // SAFETY: as above.
        unsafe { put(info, CK_MECHANISM_INFO { ulMinKeySize, ulMaxKeySize, flags: CKF_SIGN | more }) }
    })
}

unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _: *mut c_void,
    _: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    call(|| {
        if session.is_null() {
            return Err(Fault(CKR_ARGUMENTS_BAD));
        }
        let handle = with(|module| module.open_session(slot, flags))?;
        // SAFETY: as above.
        unsafe { put(session, handle) }
    })
}

unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    call(|| with(|module| module.close_session(session)))
}

unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    call(|| {
        with(|module| {
            known(slot)?;
            module.close_all();
            Ok(())
        })
    })
}

unsafe extern "C" fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    call(|| {
        let flags = with(|module| module.flags(session))?;
        let state = if flags & CKF_RW_SESSION == 0 { CKS_RO_USER_FUNCTIONS } else { CKS_RW_USER_FUNCTIONS };
        // SAFETY: as above.
        unsafe { put(info, CK_SESSION_INFO { slotID: SLOT, state, flags, ulDeviceError: 0 }) }
    })
}

/// There is nothing to log in to; tools that insist are let through, and what
/// they send is not looked at.
unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    _: CK_USER_TYPE,
    _: *mut CK_UTF8CHAR,
    _: CK_ULONG,
) -> CK_RV {
    call(|| with(|module| module.flags(session).map(drop)))
}

unsafe extern "C" fn C_Logout(session: CK_SESSION_HANDLE) -> CK_RV {
    call(|| with(|module| module.flags(session).map(drop)))
}

unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    call(|| {
        let count = usize::try_from(count).ok().filter(|count| *count <= TEMPLATE_MAX);
        let count = count.ok_or(Fault(CKR_ARGUMENTS_BAD))?;
        if template.is_null() && count > 0 {
            return Err(Fault(CKR_ARGUMENTS_BAD));
        }
        let mut wanted = Vec::with_capacity(count);
        for index in 0..count {
            // SAFETY: not null, and `count` attributes by the contract above.
            let attribute = unsafe { *template.add(index) };
            if attribute.ulValueLen as usize > ATTRIBUTE_MAX {
                return Err(Fault(CKR_ATTRIBUTE_VALUE_INVALID));
            }
            // SAFETY: as above.
            let value = unsafe { input(attribute.pValue.cast(), attribute.ulValueLen) }?;
            wanted.push((attribute.type_, value.to_vec()));
        }
        // Nobody else is held up while the service is asked, and a program that
        // forks meanwhile leaves no lock behind in its child.
        if let Some(service) = with(|module| module.unasked(session))? {
            let told = service.objects()?;
            with(|module| {
                module.keep(told);
                Ok(())
            })?;
        }
        with(|module| module.find_begin(session, &wanted))
    })
}

unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    call(|| {
        if count.is_null() || (objects.is_null() && most > 0) {
            return Err(Fault(CKR_ARGUMENTS_BAD));
        }
        let found = with(|module| module.find(session, usize::try_from(most).unwrap_or(usize::MAX)))?;
        // SAFETY: there are `most` of them at most, for which there is room.
        unsafe {
            std::ptr::copy_nonoverlapping(found.as_ptr(), objects, found.len());
            put(count, found.len() as CK_ULONG)
        }
    })
}

unsafe extern "C" fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) -> CK_RV {
    call(|| with(|module| module.find_end(session)))
}

unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    call(|| {
        let count = usize::try_from(count).ok().filter(|count| *count <= TEMPLATE_MAX);
        let count = count.ok_or(Fault(CKR_ARGUMENTS_BAD))?;
        if template.is_null() && count > 0 {
            return Err(Fault(CKR_ARGUMENTS_BAD));
        }
        with(|module| {
            // Every attribute is answered; the call then says what was wrong
            // with one of them (§5.7, C_GetAttributeValue).
            let mut outcome = Ok(());
            for index in 0..count {
                // SAFETY: not null, and `count` attributes by the contract
                // above, which nobody else reads or writes now.
                let attribute = unsafe { &mut *template.add(index) };
                let value = match module.attribute(session, object, attribute.type_)? {
                    Seen::Value(value) => value,
                    hidden => {
                        attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                        outcome = Err(Fault(match hidden {
                            Seen::Sensitive => CKR_ATTRIBUTE_SENSITIVE,
                            _ => CKR_ATTRIBUTE_TYPE_INVALID,
                        }));
                        continue;
                    }
                };
                // SAFETY: the attribute says how much room it has.
                let put = unsafe { put_all(value, attribute.pValue.cast(), &raw mut attribute.ulValueLen) };
                if put.is_err() {
                    attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                    outcome = put;
                }
            }
            outcome
        })
    })
}

unsafe extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    call(|| {
        if mechanism.is_null() {
            return Err(Fault(CKR_ARGUMENTS_BAD));
        }
        // SAFETY: not null, and a mechanism by the contract above.
        let mechanism = unsafe { *mechanism };
        let takes = matches!(mechanism.mechanism, CKM_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS_PSS);
        // A context, or a hash before: nothing that would be signed.
        if !takes && mechanism.ulParameterLen != 0 {
            return Err(Fault(CKR_MECHANISM_PARAM_INVALID));
        }
        let has = |len: usize| !mechanism.pParameter.is_null() && mechanism.ulParameterLen as usize == len;
        let pss = has(size_of::<CK_RSA_PKCS_PSS_PARAMS>()).then(|| {
            // SAFETY: not null, and as long as these parameters are; callers
            // need not have aligned them.
            let given = unsafe { mechanism.pParameter.cast::<CK_RSA_PKCS_PSS_PARAMS>().read_unaligned() };
            Pss { hash: given.hashAlg, mask: given.mgf, salt: given.sLen }
        });
        with(|module| module.sign_begin(session, key, mechanism.mechanism, pss))
    })
}

/// What both ends of an operation have in common: the length, if it is asked
/// for, or the signature. An operation outlives a question for the length and
/// a buffer that is too small (§5.2).
unsafe fn signed(
    session: CK_SESSION_HANDLE,
    end: impl FnOnce(&mut Module) -> Result<Asking>,
    signature: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> Result {
    if len.is_null() {
        return Err(Fault(CKR_ARGUMENTS_BAD));
    }
    let need = with(|module| module.signature_len(session))?;
    // SAFETY: not null, and a number by the contract above.
    let had = unsafe { len.replace(need as CK_ULONG) };
    if signature.is_null() {
        return Ok(());
    }
    if (had as usize) < need {
        return Err(Fault(CKR_BUFFER_TOO_SMALL));
    }
    let asking = with(end)?;
    // Nobody else is held up while the service is asked.
    let value = asking.signature()?;
    if value.len() > need {
        return Err(Fault(CKR_DEVICE_ERROR));
    }
    // SAFETY: the caller has room for `need` bytes, and there are no more.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), signature, value.len());
        put(len, value.len() as CK_ULONG)
    }
}

unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: as above.
    call(|| unsafe {
        let data = input(data, data_len)?;
        signed(session, |module| module.sign_whole(session, data), signature, len)
    })
}

unsafe extern "C" fn C_SignUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, len: CK_ULONG) -> CK_RV {
    // SAFETY: as above.
    call(|| with(|module| module.sign_part(session, unsafe { input(data, len) }?)))
}

unsafe extern "C" fn C_SignFinal(
    session: CK_SESSION_HANDLE,
    signature: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: as above.
    call(|| unsafe { signed(session, |module| module.sign_end(session), signature, len) })
}

/// The way in: every other function is in the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    // The list is never written to, by us or, as PKCS #11 has it, by callers;
    // it lives as long as the program.
    // SAFETY: as above.
    call(|| unsafe { put(list, (&raw const list::FUNCTIONS).cast_mut()) })
}
