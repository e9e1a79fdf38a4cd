-- Which draws clearing has used: these stay as they are. What came to nothing is looked for among the others, which are few.
-- Safe while older code runs: it draws and clears without the column, and what it cleared is known by its entry.
alter table partner_draw add column cleared_at timestamptz;
update partner_draw d set cleared_at = now()
where returned > 0 or split_part(movement, '/', 1) = 'correction' or exists (select from clearing_entry e
  where e.partner = d.partner and e.kind = split_part(d.movement, '/', 1)
    and e.reference = substr(d.movement, strpos(d.movement, '/') + 1));
create index partner_draw_open on partner_draw (drawn_at) where cleared_at is null;

insert into compatible_migration (migration) values ('20261124091000_draw_cleared');
