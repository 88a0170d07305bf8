/* Times ISA-L: arguments k, m, shard bytes, lost data shards (0 to encode). For each number of calls read, prints
 * the seconds of CPU time that they took. Ends with 1 if what was rebuilt is wrong. */
#include <isa-l/erasure_code.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static unsigned char **shards(int count, int len) {
    unsigned char **all = malloc(count * sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i] = malloc(len);
        for (int j = 0; j < len; j++) all[i][j] = (i * 31 + j * 7 + (j >> 8)) * 167 >> 3;
    }
    return all;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int k = atoi(argv[1]), m = atoi(argv[2]), len = atoi(argv[3]), lost = atoi(argv[4]);
    unsigned char *matrix = malloc((k + m) * k), *inverse = malloc(k * k), *tables = malloc(32 * k * (k + m));
    unsigned char **data = shards(k, len), **out = shards(m, len), **sources = data;
    int rows = m;
    gf_gen_cauchy1_matrix(matrix, k + m, k);
    ec_init_tables(k, m, matrix + k * k, tables);
    ec_encode_data(len, k, m, tables, data, out);
    if (lost) {
        if (gf_invert_matrix(matrix + lost * k, inverse, k)) return 3;
        ec_init_tables(k, lost, inverse, tables);
        sources = malloc(k * sizeof *sources);
        for (int i = 0; i < k; i++) sources[i] = i + lost < k ? data[i + lost] : out[i + lost - k];
        out = shards(lost, len);
        rows = lost;
    }
    int calls;
    while (scanf("%d", &calls) == 1) {
        double began = now();
        for (int i = 0; i < calls; i++) ec_encode_data(len, k, rows, tables, sources, out);
        printf("%.12g\n", now() - began);
        fflush(stdout);
    }
    for (int i = 0; i < lost; i++)
        if (memcmp(out[i], data[i], len)) return 1;
    return 0;
}
