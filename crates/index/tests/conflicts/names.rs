//! Both want one name for different things.

crate::rows! {
    create_and_create: ""; "create f one" | "create f two"
        => ["f (conflict)* = one", "f = two"];
        "Both are kept; of equal claims the identity decides, the same everywhere.";
    create_and_equal_create: ""; "create f same" | "create f same"
        => ["f = same"];
        "Equal things made apart are one.";
    create_and_create_of_a_link: ""; "create f one" | "link f t"
        => ["f (conflict)* = one", "f -> t"];
        "Both are kept; the identity decides, the same everywhere.";
    create_and_create_of_a_directory: ""; "create f one" | "mkdir f"
        => ["f (conflict)* = one", "f/"];
        "Directories have the name, because paths lead through them.";
    create_and_rename_to_its_name: "create g old"; "create f new" | "rename g f"
        => ["f (conflict)* = old", "f = new"];
        "What was made there has the name before what was moved there.";
    create_and_move_to_its_name: "mkdir d; create d/f old"; "create f new" | "move d/f f"
        => ["d/", "f (conflict)* = old", "f = new"];
        "What was made there has the name before what was moved there.";
    rename_and_rename_to_one_name: "create f one; create g two"; "rename f h" | "rename g h"
        => ["h (conflict)* = two", "h = one"];
        "Both are kept; the earlier claim has the name.";
    rename_and_move_to_one_name: "mkdir d; create d/h one; create g two";
        "move d/h h" | "rename g h"
        => ["d/", "h (conflict)* = two", "h = one"];
        "Both are kept; the earlier claim has the name.";
    rename_of_equal_files_to_one_name: "create f same; create g same"; "rename f h" | "rename g h"
        => ["h = same"];
        "Equal contents under one name are shown once.";
    edit_and_rename_of_another_to_its_name: "create f old; create g two";
        "edit f new" | "delete f; rename g f"
        => ["f (conflict)* = two", "f = new"];
        "The delete has not seen the edit; what was there first has the name.";
    rename_and_create_at_the_old_name: "create f old"; "rename f g" | "delete f; create f new"
        => ["f = new", "g = old"];
        "Two files, two names.";
    swap_and_edit: "create f one; create g two"; "rename f t; rename g f; rename t g" | "edit f new"
        => ["f = two", "g = new"];
        "The edit follows its file, whatever its name.";
    swap_and_swap: "create f one; create g two";
        "rename f t; rename g f; rename t g" | "rename f t; rename g f; rename t g"
        => ["f = two", "g = one"];
        "Both wanted the same.";
    rename_chain_and_rename: "create f one; create g two"; "rename g h; rename f g" | "rename f h"
        => ["h (conflict)* = one", "h = two"];
        "The later place of the one meets the earlier place of the other; both are kept.";
    delete_and_rename_to_its_name: "create f one; create g two";
        "delete f" | "delete f; rename g f"
        => ["f = two"];
        "The delete was meant for the file that was there.";
    create_in_a_deleted_directory_and_create_of_its_name: "mkdir d";
        "create d/f new" | "delete d; create d file"
        => ["d (conflict)* = file", "d/", "d/f = new"];
        "Directories have the name.";
    create_and_rename_of_a_directory_to_its_name: "mkdir d"; "create f new" | "rename d f"
        => ["f (conflict)* = new", "f/"];
        "Directories have the name, because paths lead through them.";
    edit_and_rename_of_a_directory_to_its_name: "create f old; mkdir d";
        "edit f new" | "delete f; rename d f"
        => ["f (conflict)* = new", "f/"];
        "The delete has not seen the edit; directories have the name.";
}
