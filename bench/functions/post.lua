-- What both are asked: a POST of three letters, with the key that sedge wants.
wrk.method = "POST"
wrk.body = "abc"
wrk.headers["authorization"] = "Bearer " .. (os.getenv("KEY") or "")
