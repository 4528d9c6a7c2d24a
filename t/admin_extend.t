#!/usr/bin/env perl

# Why: who needs more time must get it from those who gave the first, and no
# more than they gave: not from a clock that somebody turned in Redis, not from
# a request of somebody else, and not before the first window is over.

use strict;
use warnings;

use Time::Local qw(timegm);

use Lockbox::Jose qw(decode);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Calls;
use Test::Lockbox::Seals;

my $BOX = '/tenants/acme/mail';

my $t = Test::Lockbox->new;

begin($t);

goes_on_where_the_other_ends();
what_is_over();
ended_before_the_approval();
ended_after_the_approval();
nothing_to_extend();
no_more_than_before();
not_for_ever();
cut_down_and_asked();
what_redis_says();
once_it_was_approved();
several_approvals();
old_ones();

done_testing();


sub msec {
    my ($text) = @_;

    my ($year, $month, @rest) =
        $text =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z$/
        or die "no time: $text\n";
    my ($day, $hour, $minute, $second, $msec) = @rest;

    return timegm($second, $minute, $hour, $day, $month - 1, $year) * 1000
           + $msec;
}

sub show {
    my ($id) = @_;

    return act('engineer', 'show', $id)->json;
}

sub claims_of {
    my ($id) = @_;

    return decode(collect($id))->{payload};
}

# The time of all seals and of the window of a request, as if it had been
# approved so many seconds earlier; genuine, for the module signs for us.
sub earlier {
    my ($id, $seconds) = @_;

    reseal($id, sub {
        for my $claims (@_) {
            $claims->{at} -= $seconds * 1000;
            $claims->{$_} -= $seconds for qw(iat exp);
        }
    });

    for my $field (qw(approved_at starts_at expires_at)) {
        redis('HINCRBY', request_key($id), $field, -$seconds * 1000);
    }

}

# Over, and no sweep finds it.
sub expired {
    my $id = approved(@_);

    earlier($id, 3700);
    redis('DEL', live_key($id));
    redis('ZREM', 'lockbox:deadlines', "acme:$id");

    return $id;
}


# The first grant is good until its end, the second from then.
sub goes_on_where_the_other_ends {
    my $old = approved();
    my $ends = stored($old)->{expires_at};
    my $id = file(extends => $old, duration => 1800);

    is(show($id)->{extends}, $old, 'an extension says of what');
    is(show($id)->{starts_at}, undef, '... and nothing is promised');
    ok(!exists show($old)->{extends}, '... as others do not');

    approve('manager', $id);
    my $view = approve('customer', $id);

    is($view->{state}, 'approved', 'approved by both');
    is(msec($view->{starts_at}), $ends, '... it starts at the other\'s end');
    is(msec($view->{expires_at}), $ends + 1_800_000, '... with its own time');
    is(redis('PEXPIRETIME', live_key($id)), $ends + 1_800_000,
       '... as long as which its key lives');
    is(deadline_of($id), $ends + 1_800_000, '... and which is its deadline');

    my $grant = collect($id);
    my $claims = decode($grant)->{payload};

    is_deeply([ @$claims{qw(nbf exp jti)} ],
              [ $ends / 1000, $ends / 1000 + 1800, $id ],
              'the grant says so');
    is(outcome(knock($grant)), '401 not_yet_valid', '... and waits');
    is(outcome(knock(collect($old))), '200 ok',
       '... while the first is good');
    is(stored($old)->{expires_at}, $ends, '... no longer than before');

    my ($filing, @approvals) = map { decode($_)->{payload} } seals_of($id);
    is($filing->{extends}, $old, 'what it extends is sealed');
    is_deeply([ map { $_->{begins} } @approvals ], [ ($ends / 1000) x 2 ],
              '... and so is when it begins');
}

# After the end it begins when it is approved, however long that is ago.
sub what_is_over {
    my %over = (
        expired => expired(),
        completed => approved(),
    );

    took('engineer', 'complete', $over{completed});

    for my $state (sort keys %over) {
        is(show($over{$state})->{state}, $state, "what is $state");

        my $id = file(extends => $over{$state});
        approve($_, $id) for qw(manager customer);
        my $view = show($id);

        is(msec($view->{starts_at}),
           int(msec($view->{approved_at}) / 1000) * 1000,
           '... is extended from the approval on');
        is(outcome(knock(collect($id))), '200 ok', '... at once');
        ok(!exists decode((seals_of($id))[2])->{payload}{begins},
           '... as any other request');
    }
}

# It may end between the filing and the last approval.
sub ended_before_the_approval {
    for my $step ([ 'customer', 'revoke' ], [ 'engineer', 'complete' ]) {
        my ($who, $action) = @$step;
        my $old = approved();
        my $id = file(extends => $old);

        approve('manager', $id);
        took($who, $action, $old);

        my $view = approve('customer', $id);
        is(msec($view->{starts_at}),
           int(msec($view->{approved_at}) / 1000) * 1000,
           "after $action it begins with the approval");
        is(outcome(knock(collect($id))), '200 ok', '... at once');
    }

    # and it may have gone altogether
    my $old = approved();
    my $id = file(extends => $old);
    approve('manager', $id);
    redis('DEL', request_key($old), live_key($old));
    approve('customer', $id);
    is(outcome(knock(collect($id))), '200 ok', 'what has gone holds up nobody');
}

# Once approved it does not change: not earlier, not later, not over.
sub ended_after_the_approval {
    my $old = approved();
    my $id = file(extends => $old);

    approve($_, $id) for qw(manager customer);
    my $before = claims_of($id);
    took('customer', 'revoke', $old);

    is_deeply(claims_of($id), $before, 'the other one ends, this one does not');
    is(outcome(knock(collect($id))), '401 not_yet_valid', '... nor begins');
    took('manager', 'revoke', $id);
    is(outcome(act('engineer', 'grant', $id)), '409 conflict',
       'it can be revoked before it begins');
}

sub filed_to_extend {
    my ($extends, %members) = @_;

    my $who = delete $members{who} // 'engineer';

    return sub { ask($who, 'POST', $REQUESTS,
                     json => filing(extends => $extends, %members)) };
}

# All that is not his and here reads the same, whatever it is.
sub nothing_to_extend {
    my $old = approved();
    my $denied = file();
    took('manager', 'deny', $denied, version => 1);
    my $revoked = approved();
    took('customer', 'revoke', $revoked);
    my $cancelled = file();
    took('engineer', 'cancel', $cancelled);
    my $lapsed = file();
    make_due($lapsed, unseen => 1);
    my $asked = file();
    took('manager', 'ask', $asked, version => 1, comment => '?');
    my $spoilt = approved();
    redis('HSET', request_key($spoilt), duration => 7200);
    my $made = file();
    redis('HSET', request_key($made), state => 'approved',
          expires_at => now() + 60_000, starts_at => 0);

    my $globex = file(tenant => 'globex', access => [
        { service => 'mail', methods => ['GET'],
          paths => ['/tenants/globex/mail/'], labels => [] } ]);
    ask('manager', 'POST', uri($globex, 'approve', 'globex'),
        json => { version => 1 });
    ask('other-customer', 'POST', uri($globex, 'approve', 'globex'),
        json => { version => 2 });

    my %none = (
        'another engineer\'s' => approved(who => 'other-engineer'),
        'what is not there' => Test::Lockbox::Conf::uuid7(),
        'another tenant\'s' => $globex, 'what waits' => file(),
        'what waits for an answer' => $asked, 'what was denied' => $denied,
        'what was revoked' => $revoked, 'what was withdrawn' => $cancelled,
        'what has lapsed' => $lapsed, 'what was tampered with' => $spoilt,
        'what nobody approved' => $made,
    );
    my %details;

    for my $name (sort keys %none) {
        $details{ refused("extending $name (W11)",
                          '400 invalid_member /extends',
                          filed_to_extend($none{$name}))->json->{detail} }++;
    }

    is(scalar keys %details, 1, 'all of it reads the same');

    # a manager sees it, and it is not his all the same
    refused('extending somebody else\'s by whoever may see it',
            '400 invalid_member /extends',
            filed_to_extend($none{'another engineer\'s'},
                            who => 'engineer-manager'));

    for my $value ('', 'x', $old . '0', uc $old, 7, [ $old ], \1) {
        refused('extending ' . (ref $value || "\"$value\""),
                '400 invalid_member /extends', filed_to_extend($value));
    }

    accepted('but for that', filed_to_extend($old));
}

# Within what the other one was cut down to.
sub no_more_than_before {
    my @wide = ({ service => 'mail', methods => [ 'GET', 'POST' ],
                  paths => ["$BOX/"], labels => ['secret'] });
    my @part = ({ service => 'mail', methods => ['GET'],
                  paths => ["$BOX/a/"], labels => [] });
    my $old = file(access => \@wide);

    approve('manager', $old);
    approve('customer', $old, access => \@part);

    refused('extending to what was cut off', '400 invalid_member /access',
            filed_to_extend($old, access => \@wide));
    refused('extending to something else besides',
            '400 invalid_member /access', filed_to_extend($old, access => [
                @part, { %{ $part[0] }, service => 'files' } ]));
    accepted('extending what is left', filed_to_extend($old,
                                                       access => \@part));
    accepted('extending less', filed_to_extend($old, access => [
        { %{ $part[0] }, paths => ["$BOX/a/b"] } ], duration => 60));
    refused('extending for longer than windows are',
            '400 invalid_member /duration',
            filed_to_extend($old, access => \@part, duration => 14401));
}

# Windows in a row are not stored up: the next is for when this one has begun.
sub not_for_ever {
    my $old = approved();
    my $next = file(extends => $old);
    approve($_, $next) for qw(manager customer);

    my $response = refused('extending what has not begun',
                           '400 invalid_member /extends',
                           filed_to_extend($next));
    like($response->json->{detail}, qr/not begun/, '... which says why');

    # nor does Redis make it begin
    redis('HSET', request_key($next), starts_at => now() - 1000);
    refused('extending what Redis says has begun',
            '400 invalid_member /extends', filed_to_extend($next));

    # but an extension that has begun is a request like others
    took('engineer', 'complete', $old);
    my $begun = file(extends => $old);
    approve($_, $begun) for qw(manager customer);
    my $third = file(extends => $begun);
    approve($_, $third) for qw(manager customer);
    is(show($third)->{starts_at}, show($begun)->{expires_at},
       'one after the other');
}

sub cut_down_and_asked {
    my $old = approved();
    my $id = file(extends => $old);

    took('manager', 'ask', $id, version => 1, comment => 'Why longer?');
    took('engineer', 'answer', $id, comment => 'It is slow.');
    approve('manager', $id, duration => 1800);
    approve('customer', $id, duration => 900);

    my $view = show($id);
    is($view->{starts_at}, show($old)->{expires_at}, 'it starts at the end');
    is(msec($view->{expires_at}) - msec($view->{starts_at}), 900_000,
       '... for what was left of it');
    is(claims_of($id)->{exp}, msec($view->{expires_at}) / 1000,
       '... as the grant says');
}

# Whoever can write there prolongs nothing.
sub what_redis_says {
    my $old = approved();
    my $ends = stored($old)->{expires_at};
    my $id = file(extends => $old);
    my $plain = file();
    approve('manager', $id);
    my $saved = save_all();
    my $last = sub { act('customer', 'approve', $id, { version => 2 }) };
    my $before;
    my $refused = sub {
        my ($name, $outcome, $work) = @_;

        $before = contents();
        is(outcome($last->()), $outcome, $name);
        is_deeply(contents(), $before, '... changes nothing');
        load_all($saved);
        $work->() if $work;
    };

    # a later end, an earlier one, and no end at all
    for my $end ($ends + 3_600_000, $ends - 600_000) {
        redis('HSET', request_key($old), expires_at => $end);
        $refused->('another end of the other one', '409 conflict');
    }

    # its seals with another time, and another request in its place
    redis('HSET', request_key($old), duration => 14_400);
    $refused->('a longer window of the other one', '503 internal_error');
    redis('HSET', request_key($old), engineer_sub => 'emil');
    $refused->('another engineer\'s', '503 internal_error');
    redis('HSET', request_key($id), extends => $plain);
    $refused->('another one that it extends', '503 internal_error');
    redis('HDEL', request_key($id), 'extends');
    $refused->('nothing that it extends', '503 internal_error');

    # an end that is over, though it is not: it begins earlier and ends so
    redis('HSET', request_key($old), state => 'expired', ended_at => now());
    $last->();
    cmp_ok(stored($id)->{expires_at}, '<=', now() + 3_600_000,
           'an end that came too early prolongs nothing');
    load_all($saved);

    is(outcome($last->()), '200 ok', '... but for that');
    is(stored($id)->{starts_at}, $ends, '... it starts at the end');
}

# Once it is approved, the grant follows from the seals.
sub once_it_was_approved {
    my $old = approved();
    my $id = file(extends => $old);
    approve($_, $id) for qw(manager customer);
    my $claims = claims_of($id);
    my $saved = save_all();

    for my $fields ([ starts_at => now() - 1000 ],
                    [ expires_at => now() + 86_400_000 ],
                    [ approved_at => now() - 1000 ])
    {
        redis('HSET', request_key($id), @$fields);
        is_deeply(claims_of($id), $claims, "$fields->[0] by hand");
        load_all($saved);
    }

    my %spoilt = (
        'nothing extended' => [ 'HDEL', request_key($id), 'extends' ],
        'another one extended' => [ 'HSET', request_key($id), extends => $id ],
    );

    for my $name (sort keys %spoilt) {
        redis(@{ $spoilt{$name} });
        is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
           $name);
        load_all($saved);
    }

    # a beginning is an approval's, of an extension
    my $plain = approved();
    reseal($plain, sub { $_[2]{begins} = time + 600 });
    is(outcome(act('engineer', 'grant', $plain)), '503 internal_error',
       'a beginning of what extends nothing');

    reseal($id, sub { $_[2]{begins} = 'soon' });
    is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
       'a beginning that is none');
    load_all($saved);
    is_deeply(claims_of($id), $claims, '... but for that');

    # what was handed back stays so, though its approvals are genuine
    my $back = approved();
    took('engineer', 'complete', $back);
    redis('HSET', request_key($back), state => 'approved');
    redis('SET', live_key($back), 'live', 'PX', 60_000);
    is(outcome(act('engineer', 'grant', $back)), '503 internal_error',
       'handed back is handed back');
}

# The last approval says when.
sub several_approvals {
    change_conf(directives => { lockbox_approvals => 'manager=2 customer=2' });

    my $old = approved_by_all(file());
    my $id = file(extends => $old);

    approve($_, $id) for qw(manager second-manager customer);
    took('customer', 'revoke', $old);
    my $view = approve('second-customer', $id);

    is(msec($view->{starts_at}),
       int(msec($view->{approved_at}) / 1000) * 1000,
       'the last approval says when it begins');
    is(outcome(knock(collect($id))), '200 ok', '... which is now');

    change_conf();
}

sub approved_by_all {
    my ($id) = @_;

    approve($_, $id) for qw(manager second-manager customer second-customer);

    return $id;
}

# Its history is kept longer than its seals count; that it was approved is
# still to be seen, and gives nobody time.
sub old_ones {
    my $old = approved();
    my $days = 100 * 86_400;

    earlier($old, $days);
    redis('ZREM', 'lockbox:deadlines', "acme:$old");
    redis('HSET', request_key($old), state => 'expired',
          ended_at => stored($old)->{expires_at});

    my $id = file(extends => $old);
    approve($_, $id) for qw(manager customer);
    is(outcome(knock(collect($id))), '200 ok', 'extended after a hundred days');

    redis('HSET', request_key($old), ended_at => now());
    refused('extending what was sealed too long ago',
            '400 invalid_member /extends', filed_to_extend($old));
}
