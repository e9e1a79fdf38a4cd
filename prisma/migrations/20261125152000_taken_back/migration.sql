-- How many points a partner has taken back of an exchange stands in its row, because steps are forgotten after 400 days and files are compared with what
-- was three years ago.
-- Safe while older code runs: a trigger keeps it for it too. (Rows of exchanges that were taken back are written once.)

-- Null where the partner has not said so. None where the movement had never arrived there.
alter table exchange add column taken_back_points bigint;
update exchange e set taken_back_points = coalesce((s.detail ->> 'points')::bigint, e.partner_points)
from (select distinct on (exchange) exchange, detail from exchange_step where action = 'undo' and outcome = 'succeeded' order by exchange, step) s
where s.exchange = e.exchange;

create function note_taken_back() returns trigger language plpgsql as $$
begin
  -- A file that an older version has taken does not say how many: all of them then.
  update exchange set taken_back_points = coalesce((new.detail ->> 'points')::bigint, partner_points)
  where exchange = new.exchange and taken_back_points is null;
  return null;
end $$;
create trigger taken_back after insert or update of outcome on exchange_step
  for each row when (new.action = 'undo' and new.outcome = 'succeeded') execute function note_taken_back();

insert into compatible_migration (migration) values ('20261125152000_taken_back');
