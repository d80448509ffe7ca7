//! The list of functions: what the module does, and what it does not.

use super::*;

/// What the service does not do. Each has as many arguments as PKCS #11 says;
/// none is looked at.
macro_rules! absent {
    ($($name:ident: $($argument:ident)*;)*) => {
        $(unsafe extern "C" fn $name<$($argument),*>($(_: $argument),*) -> CK_RV {
            CKR_FUNCTION_NOT_SUPPORTED
        })*
    };
}

absent! {
    no1: A;
    no2: A B;
    no3: A B C;
    no4: A B C D;
    no5: A B C D E;
    no6: A B C D E F;
    no8: A B C D E F G H;
}

pub(super) static FUNCTIONS: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
    version: CK_VERSION { major: 2, minor: 40 },
    C_Initialize: Some(C_Initialize),
    C_Finalize: Some(C_Finalize),
    C_GetInfo: Some(C_GetInfo),
    C_GetFunctionList: Some(C_GetFunctionList),
    C_GetSlotList: Some(C_GetSlotList),
    C_GetSlotInfo: Some(C_GetSlotInfo),
    C_GetTokenInfo: Some(C_GetTokenInfo),
    C_GetMechanismList: Some(C_GetMechanismList),
    C_GetMechanismInfo: Some(C_GetMechanismInfo),
    C_InitToken: Some(no4),
    C_InitPIN: Some(no3),
    C_SetPIN: Some(no5),
    C_OpenSession: Some(C_OpenSession),
    C_CloseSession: Some(C_CloseSession),
    C_CloseAllSessions: Some(C_CloseAllSessions),
    C_GetSessionInfo: Some(C_GetSessionInfo),
    C_GetOperationState: Some(no3),
    C_SetOperationState: Some(no5),
    C_Login: Some(C_Login),
    C_Logout: Some(C_Logout),
    C_CreateObject: Some(no4),
    C_CopyObject: Some(no5),
    C_DestroyObject: Some(no2),
    C_GetObjectSize: Some(no3),
    C_GetAttributeValue: Some(C_GetAttributeValue),
    C_SetAttributeValue: Some(no4),
    C_FindObjectsInit: Some(C_FindObjectsInit),
    C_FindObjects: Some(C_FindObjects),
    C_FindObjectsFinal: Some(C_FindObjectsFinal),
    C_EncryptInit: Some(no3),
    C_Encrypt: Some(no5),
    C_EncryptUpdate: Some(no5),
    C_EncryptFinal: Some(no3),
    C_DecryptInit: Some(no3),
    C_Decrypt: Some(no5),
    C_DecryptUpdate: Some(no5),
    C_DecryptFinal: Some(no3),
    C_DigestInit: Some(no2),
    C_Digest: Some(no5),
    C_DigestUpdate: Some(no3),
    C_DigestKey: Some(no2),
    C_DigestFinal: Some(no3),
    C_SignInit: Some(C_SignInit),
    C_Sign: Some(C_Sign),
    C_SignUpdate: Some(C_SignUpdate),
    C_SignFinal: Some(C_SignFinal),
    C_SignRecoverInit: Some(no3),
    C_SignRecover: Some(no5),
    C_VerifyInit: Some(no3),
    C_Verify: Some(no5),
    C_VerifyUpdate: Some(no3),
    C_VerifyFinal: Some(no3),
    C_VerifyRecoverInit: Some(no3),
    C_VerifyRecover: Some(no5),
    C_DigestEncryptUpdate: Some(no5),
    C_DecryptDigestUpdate: Some(no5),
    C_SignEncryptUpdate: Some(no5),
    C_DecryptVerifyUpdate: Some(no5),
    C_GenerateKey: Some(no5),
    C_GenerateKeyPair: Some(no8),
    C_WrapKey: Some(no6),
    C_UnwrapKey: Some(no8),
    C_DeriveKey: Some(no6),
    C_SeedRandom: Some(no3),
    C_GenerateRandom: Some(no3),
    C_GetFunctionStatus: Some(no1),
    C_CancelFunction: Some(no1),
    C_WaitForSlotEvent: Some(no3),
};
