-- When a movement drew from blocks: what was drawn for a movement that never came into the books goes back.
-- Safe while older code runs: it does not draw.
alter table partner_draw add column drawn_at timestamptz not null default now();
create index partner_draw_time on partner_draw (drawn_at);

insert into compatible_migration (migration) values ('20261124042000_draws');
