#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| connect_redis_core::fuzz::slot_map::run(input));
