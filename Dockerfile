# One image for every process of the service: the API is its default, the workers and commands are given as the command
# (`node workers/ledger-writer.ts`). Node runs the TypeScript as it stands, so there is nothing to build. With API_PROCESSES
# the API is several processes behind its port, under a supervisor that passes SIGTERM on.

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Without development packages (the servers of a bare machine, compilers, tests) and without optional native parts. No
# package of the service needs its install script; one sends usage figures home.
RUN --mount=type=cache,target=/root/.npm \
    npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    DATA_DIR=/data \
    PORT=3000 \
    HEALTH_PATH=/healthz \
    npm_config_cache=/tmp/.npm \
    npm_config_update_notifier=false
WORKDIR /app
# A named volume that is mounted here takes over the owner, so that the identity key can be written by the service.
RUN install -d -o node -g node -m 0700 /data
# The code belongs to root: the service cannot change itself.
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY prisma/migrations ./prisma/migrations
COPY src ./src
COPY workers ./workers
# The user `node`, by number: an orchestrator that forbids root can check a number only.
USER 1000:1000
EXPOSE 3000
# Asks the API on PORT, or a worker on WORKER_METRICS_PORT. A command that serves nothing must switch it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["node", "-e", "const e = process.env; fetch('http://127.0.0.1:' + (e.WORKER_METRICS_PORT || e.PORT) + e.HEALTH_PATH, { signal: AbortSignal.timeout(4000) }).then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
# The exec form: SIGTERM reaches Node itself, which drains for SHUTDOWN_SECONDS. Give the container longer than that.
CMD ["node", "src/main.ts"]
