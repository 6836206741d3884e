-- What wrk is to say: one line of JSON at the end. Latencies are in microseconds. There is no
-- function that runs per request, so the load stays as cheap as without a script.
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests":%d,"failed":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
