// Package awskms is a root key in the AWS Key Management Service, through the official SDK.
//
// The share is encrypted by the KMS itself, so it passes to AWS in clear, within TLS; the key never
// leaves it. What a share is for goes along as named pairs of the encryption context, which the KMS
// authenticates, writes into CloudTrail and lets key policies name:
//
//	culvert:env       the environment
//	culvert:kek       the key id, or "environment"
//	culvert:context   SHA-256 of the key context
//	culvert:slot      "root", or the item that a customer's key applies to
//	organization_id   an item of the key context, only where a CMK or a setting names it
//
// Keys are named by their full ARN, so that an account or a region is never a matter of where the
// process runs. The ARN of an alias is resolved once, when the key is opened; what is recorded is the
// key's. Credentials come by the SDK's default chain: environment, shared files, web identity, ECS, EC2.
//
// What the role needs is in deploy/kms: kms:Encrypt, kms:Decrypt, kms:ReEncrypt* and kms:DescribeKey;
// kms:GetKeyRotationStatus if descriptions shall tell of rotation.
//
// # What it guarantees
//
// Every call names the key, also a decryption. An answer for another key or of another length is
// refused. Nothing that the KMS says in words is passed on, neither in errors nor to a log: a message may
// repeat the plaintext. Only codes from a list in this package are repeated.
//
// # What it does not
//
// An answer is not authenticated beyond TLS: who controls the endpoint sees the shares of new KEKs, and
// those that it can decrypt. It can hand out a wrong share, which then opens nothing.
//
// None of this has been run against AWS itself, only against keystest.AWS.
package awskms
