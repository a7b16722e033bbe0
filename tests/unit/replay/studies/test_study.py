"""The settings of a study's rows on logs that are not the published ones."""

from replay.studies.study import read_study


def test_settings_for_a_log_at_hand_leave_what_a_row_says_of_itself() -> None:
    study = read_study("user-gru")
    configs = {
        row.name: row.config({"epochs": 1}, study.at_hand) for table in study.table for row in table.rows
    }
    networks, factors = configs["attentional"], configs["matrix factorisation"]
    assert networks is not None and factors is not None
    assert (networks.hidden_size, networks.learning_rate) == (64, 0.005)
    # As published, whatever the log.
    assert (factors.hidden_size, factors.learning_rate) == (20, 0.01)
    assert networks.epochs == factors.epochs == 1
