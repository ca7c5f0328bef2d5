return redis.error_reply('ERR from a script')
