/*
 * Keys that open nothing.  They are fixed so that what a fuzzer has found can
 * be run again.
 */

#ifndef _KEYS_H_INCLUDED_
#define _KEYS_H_INCLUDED_


/* In the order of the signers of door.h. */

static const char *const  keys_pem[] = {

    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcPu83bD7zOvl/Nm8\n"
    "eaD8j35oegLybcGj3vzh6pN2ojihRANCAATW0XT2BckxbZSAPRSoLslBOS/QUyTd\n"
    "60PQqh/FxG1WgmPzG2ui+CYlHJlPse8m69CFiUMtVXlbY8zAcRiz6Owi\n"
    "-----END PRIVATE KEY-----\n",

    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7Mv9pg3MfVqDC\n"
    "QJc97YWVgL5WssYRoapZUZ6wabbWsClBX6GwmXjBZ8IGKoelFV3blaLUTA9c/zYi\n"
    "QXzJdw8dG3Vc4alNJ1Zd/iK1aRRKnacT3d/hGnoIAqdAAIjDpZjVXQ4clNOt4gsy\n"
    "G1WsgKSF1pp+x3WE6tWWqYZH6EAV3rN4FSTPilYHUmRQ4F8dTTVSpvcYECYhugzr\n"
    "KYoyrVnzEFUmnuHYerGdEWSCMOkoOPKzmsgowhM2IYZ3S+dPo6Wdm8ZoeK7+jXcY\n"
    "FWrOdqzvWls9o7D+fGNylrWaCS+E4FHOqwHg383uq5JBR0AUG5dSkAisw1ZSvDN0\n"
    "klFaUDwRAgMBAAECggEACuTu5E8YFgzOkj98DciS655wdU82I7SK22Panl2onFno\n"
    "LLvKByMHWgoVypITDtJtgef1b/F1O25G0juJbZgWMxV0ARHI7oqJhjLSBki1O5pt\n"
    "LMTO0KTf0TOGVD0zuF8cw94EgjlPEGGFUUcx9zYNXRSeLR6igjfAcmIvRGQJxrvz\n"
    "cz8iarH+m/O7MPKluRlT14JrRqHbIllwFtr+g3AFiVpqTa0u2zeWTZI31Akq7/AE\n"
    "ES+XQsdZkwZuY2EEGalc7KNoNLJ9TooTqmv4nr3pMUlR1S6Es3B1bDinTU5zJKHb\n"
    "l3CpVW9/Jt6vEOGeCDgIxR4pYRBagYOpRVSlBQmgWQKBgQD6mNQE641j11MQqpB+\n"
    "3NijxWMDq0PQKiXSbb0v5amkGPmZCpOQR5veIrqWST+4al4TjReMelcYo2uvlMD9\n"
    "wV+t0KD5RV9HVJZsgJ9UCwiU6eS4Nne6FZ6iLXj2nc81JUs6jitEpTa4nfaL8iaE\n"
    "PWTlM2ACht+OxaMcykHDO9VCPwKBgQC/PD67FghnQBVmZeL14b55EES0IFae+ypI\n"
    "Kbe0e4+GgaBbLjOON29v7TcqKU2eNYj7zDDHRLptMNjqfz5LgdEmyRB97VsMlB/4\n"
    "tDaoGZP0XeQLCDjcEGPOHJHlyLGxI4JIKcuIvOFKlbf7dvOzhtXGC+2sy22s2Ifr\n"
    "gcd4ZKVNrwKBgQCUMm8oHbk28y7/ay8apzZC28drcwwefd5yLE22lqYVEmQBWpzb\n"
    "tU17N6SKnfTd9aF/BHCJtgvt2S8k3d6n8oTHwNqBr8Hh6CcxMXuH8yJ3Fj8ZpbR2\n"
    "SrTOif/AMKFKd6yei1cROHc9BMW6C1E14Sza0uATfnmU8FI/A2mSsL60dwKBgCn5\n"
    "nkdQWb3YChp0yLFxwG4wTPRAmOLCfJBkX8dEy8cZUspQxM41isdFiTM+56OPWqby\n"
    "Nc63XjgzXZlzHohSUUczIOSTIcYMCUx8ufaBzsD3juOBBYIAMvf9u2R1fdNE2Qbf\n"
    "7aXw136YiE6w2GMSeH/FBIFGEae7y3G9Bbx+Uu5PAoGAdtmDz4hnXf+gOcJtZacN\n"
    "c5ZnZGlbCLbxc/aow322y4bzu+TNHSFg4IXGvyQLON5XKIdgigToM6oZmTkP0q/p\n"
    "J99j8UYxSldpKS7w90C8tfadWNSxT94qWOB0qoKjZZcnUceYpJg2E6e1lkskMIdg\n"
    "2TFcYkEG/3qAlsXMoitCJW8=\n"
    "-----END PRIVATE KEY-----\n",

    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnrcCaw4h5orWdCJy\n"
    "2ag4LSu+51y09IBxLj+fVq2F3g+hRANCAATssJ3mr3j3zKcRx/O6UGi+KAVvpP3e\n"
    "wBvhocYg2poyguM69KVQraE7pJZ/BVALIHeYyPeGmkQDUrqLUSZt3cAM\n"
    "-----END PRIVATE KEY-----\n",

    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEuCFmeszLwXgOmxn\n"
    "ZxxiUeMH0UpxvrKhgOmKfIvNCGGhRANCAARj78c9aXIYqTU1I7uttoMFuMWmmodx\n"
    "2URZrYHFgoTYK2wMEPXKFqxk5rlSTwrICMCBcoX8lBsU0xugOvenjhFc\n"
    "-----END PRIVATE KEY-----\n",

    NULL
};


#endif /* _KEYS_H_INCLUDED_ */
