import numpy as np

from model.networks.fused.source_lists import NO_DATA, NO_ITEM, ranks_in, source_lists


def test_each_source_lists_its_best_candidates_without_what_is_left_out() -> None:
    rng = np.random.default_rng(3)
    sessions, candidates, features, k = 5, 30, 4, 8
    ids_BC = np.stack([rng.permutation(100)[:candidates] for _ in range(sessions)])
    # Few values, so that many are equal, and many that are not proposed.
    features_BCF = rng.integers(0, 4, (sessions, candidates, features)).astype(np.float32)
    count_B = np.array([0, 3, 10, 30, 30])
    left_out_BM = np.where(rng.random((sessions, 6)) < 0.5, ids_BC[:, :6], -1)
    by_S = np.array([2, 0, -1])
    lists_BSk = source_lists(ids_BC, features_BCF, count_B, left_out_BM, by_S, k)
    assert lists_BSk.shape == (sessions, 3, k)
    for b in range(sessions):
        for s, feature in enumerate(by_S[:2]):
            proposed = [
                (-features_BCF[b, c, feature], ids_BC[b, c])
                for c in range(count_B[b])
                if features_BCF[b, c, feature] > 0 and ids_BC[b, c] not in left_out_BM[b]
            ]
            best = [item for _, item in sorted(proposed)][:k]
            assert lists_BSk[b, s].tolist() == best + [NO_ITEM] * (k - len(best))
        assert (lists_BSk[b, 2] == NO_DATA).all()
    targets_B = np.array([-1, *lists_BSk[1:, 0, 0]])
    ranks_BS = ranks_in(lists_BSk, targets_B)
    assert ranks_BS[:, 0].tolist() == [0, *(1 if item >= 0 else 0 for item in targets_B[1:])]
    assert (ranks_BS[:, 2] == NO_DATA).all()
