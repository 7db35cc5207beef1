#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| connect_redis_core::fuzz::compare_and_set::run(input));
