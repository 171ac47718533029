//! Stores in the buckets of S3, Google and Azure.
//!
//! ```text
//! address      URL -> service, bucket, prefix
//! transport    requests of all services: one client, bounded answers, refusals as errors
//! answer       what a refusal means for the caller
//! keys         who we are to S3, and in which region        profile   the files of AWS's tools
//! s3 google azure   address, identity -> bucket
//! objects      chunks and indexes as objects in a bucket
//! ```
//! The crate `object_store` signs requests and reads answers. It tries nothing again: that is done
//! once, for all stores far away.

mod address;
mod answer;
mod azure;
mod google;
mod keys;
mod objects;
mod profile;
mod s3;
mod transport;

pub(crate) use objects::BucketObjects;
