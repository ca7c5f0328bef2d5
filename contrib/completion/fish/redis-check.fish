# fish completion of redis-check-rdb and redis-check-aof.
for program in redis-check-rdb spinel-check-rdb
    complete -c $program -l stats -d 'Says what is in the file.'
    complete -c $program -l format -x -a 'table info csv' -d 'The form of statistics.'
    complete -c $program -l output -r -F -d 'Statistics go there.'
end
for program in redis-check-aof spinel-check-aof
    complete -c $program -l fix -d 'Cuts off what is not valid, after asking.'
    complete -c $program -l truncate-to-timestamp -x -d 'Cuts off what was written after this second.'
end
