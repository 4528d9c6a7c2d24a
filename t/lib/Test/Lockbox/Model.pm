package Test::Lockbox::Model;

# The workflow as README.md tells it: who may do what and when, what comes of
# it, and what everybody is shown.  It is written for t/model.t to be held
# against, shares nothing with admin/workflow.lua, and knows no HTTP.
#
# A person is { iss, sub, roles => { engineer => 1, ... }, tenant }, a request
# is a hash of this module's, times are milliseconds.

use strict;
use warnings;

use JSON::PP ();
use List::Util qw(all any first max min);
use Time::Local qw(timegm_modern);

my $MINUTE = 60_000;

my $OPEN = qr/^(?:awaiting_|needs_info)/;

my %STATUS = (
    ok => 200, invalid_member => 400, forbidden_role => 403,
    own_request => 403, same_person => 403, not_found => 404, conflict => 409,
    too_many_requests => 429,
);

# Who takes a step: those who decide in some stage, or the engineer; and what
# the request is afterwards, if that is always the same.
my %STEPS = (
    approve  => { by => 'stage' },
    ask      => { by => 'stage' },
    deny     => { by => 'stage', after => 'denied' },
    answer   => { by => 'engineer' },
    cancel   => { by => 'engineer', after => 'cancelled' },
    complete => { by => 'engineer', after => 'completed' },
    grant    => { by => 'engineer' },
    revoke   => { by => 'side', after => 'revoked' },
);


# The rules: approvals and within (seconds) by stage, max_open, questions, and
# manager_only (tenants).
sub new {
    my ($class, %rules) = @_;

    return bless { questions => 8, manager_only => {}, %rules,
                   requests => [], policies => {} }, $class;
}

sub steps {
    return sort keys %STEPS;
}

sub requests {
    my ($self) = @_;

    return @{ $self->{requests} };
}


# Steps

# Each answers { word, status } and what belongs to the word: request, state
# and version, or member, one of which must be named.
sub file {
    my ($self, $person, $tenant, $body, $now, $extended) = @_;

    return answer('forbidden_role') unless $person->{roles}{engineer};

    my @beyond = (
        defined $body->{extends}
            ? not_extended($person, $tenant, $body, $extended, $now) : (),
        $self->beyond($tenant, $body, @$body{qw(access duration)}));

    return answer('invalid_member', member => \@beyond) if @beyond;

    my $open = grep {
        same_person($person, $_->{author}) && $_->{tenant} eq $tenant
            && state($_, $now) =~ $OPEN
    } $self->requests;

    return answer('too_many_requests') if $open >= $self->{max_open};

    my $within = $self->{within};
    my $request = {
        tenant => $tenant, state => 'awaiting_manager', version => 1,
        author => $person, body => $body, extended => $extended,
        duration => $body->{duration},
        access => $body->{access}, decisions => [], asked_by => undef,
        created_at => $now, answer_by => $now + 1000 * $within->{manager},
        lapses_at => $now + 1000 * ($within->{manager} + $within->{customer}
                                    + $within->{engineer}),
    };

    push @{ $self->{requests} }, $request;

    return answer('ok', status => 201, request => $request);
}

sub step {
    my ($self, $person, $action, $request, $body, $now) = @_;

    my $refusal = $self->refusal($person, $action, $request, $body, $now);
    return $refusal if $refusal;

    my $effect = $self->can("do_$action");
    my $before = stage_of($request);

    $effect->($self, $request, $body, $now) if $effect;
    return answer('ok') if $action eq 'grant';

    note_decision($request, $person, $action,
                  $STEPS{$action}{by} eq 'engineer' ? 'engineer'
                  : $before // side_of($person), $body, $now);
    $request->{version}++;
    $self->advance($request, $before, $now) if $action eq 'approve';

    if (my $after = $STEPS{$action}{after}) {
        @$request{qw(state ended_at)} = ($after, $now);
    }

    return answer('ok');
}

# Why there is no more of that: it is not his there, it has not begun or has
# not ended well, or it had less.
sub not_extended {
    my ($person, $tenant, $body, $extended, $now) = @_;

    return '/extends' if !$extended || $extended->{tenant} ne $tenant
        || !same_person($person, $extended->{author})
        || state($extended, $now) !~ /^(?:approved|expired|completed)$/
        || state($extended, $now) eq 'approved'
           && $extended->{starts_at} > $now;

    return wider($extended, { access => $body->{access} });
}

# In the order in which a caller learns: whether it is there, whether it is
# for people like him, for himself, for now, for what he has seen.
sub refusal {
    my ($self, $person, $action, $request, $body, $now) = @_;

    return answer('not_found') unless sees($person, $request);

    my $by = $STEPS{$action}{by};
    my $author = same_person($person, $request->{author});

    return answer('forbidden_role') if $by eq 'engineer'
        ? !$author || !$person->{roles}{engineer} : !side_of($person);
    return answer('own_request') if $by eq 'stage' && $author;

    my @conflict = ('conflict', state => state($request, $now),
                    version => $request->{version});

    return answer(@conflict)
        unless $self->is_time($person, $action, $request, $now);
    return answer('same_person')
        if $by eq 'stage' && has_approved($person, $request);
    return answer(@conflict) if defined $body->{version}
                                && $body->{version} != $request->{version};
    return answer(@conflict)
        if $action eq 'ask' && asked($request) >= $self->{questions};

    return undef if $action ne 'approve';

    my %after = (%$request, %$body);
    my @beyond = (wider($request, $body), $self->beyond($request->{tenant},
        $request->{body}, @after{qw(access duration)}));

    return @beyond ? answer('invalid_member', member => \@beyond) : undef;
}

sub answer {
    my ($word, %more) = @_;

    return { word => $word, status => $STATUS{$word}, %more };
}

sub do_approve {
    my ($self, $request, $body) = @_;

    $request->{$_} = $body->{$_} // $request->{$_} for qw(access duration);
}

sub do_ask {
    my ($self, $request, $body, $now) = @_;

    my $stage = stage_of($request);

    @$request{qw(state asked_by left)}
        = ('needs_info', $stage, $request->{answer_by} - $now);
    $request->{answer_by} = $request->{lapses_at};
}

sub do_answer {
    my ($self, $request, $body, $now) = @_;

    $request->{state} = "awaiting_$request->{asked_by}";
    $request->{asked_by} = undef;
    $request->{answer_by} = min($request->{lapses_at},
                                $now + delete $request->{left});
}

sub note_decision {
    my ($request, $person, $action, $stage, $body, $now) = @_;

    my $last = first { $_->{access} } reverse @{ $request->{decisions} };
    my $stood = $last // $request->{body};
    my $narrowed = $action eq 'approve'
        && any { encoded($request->{$_}) ne encoded($stood->{$_}) }
               qw(access duration);

    push @{ $request->{decisions} }, {
        stage => $stage, decision => $action, at => $now,
        by => { iss => $person->{iss}, sub => $person->{sub} },
        defined $body->{comment} ? (comment => $body->{comment}) : (),
        $narrowed ? (access => $request->{access},
                     duration => $request->{duration}) : (),
    };
}

# An approval may have been the last one of its stage, and the customer may
# have given one beforehand.
sub advance {
    my ($self, $request, $stage, $now) = @_;

    my $given = grep { $_->{decision} eq 'approve' && $_->{stage} eq $stage }
                @{ $request->{decisions} };

    return if $given < $self->needed($request->{tenant}, $stage);

    if ($stage eq 'manager' && $self->needed($request->{tenant}, 'customer')) {
        $request->{state} = 'awaiting_customer';
        $request->{answer_by} = min($request->{lapses_at},
            $now + 1000 * $self->{within}{customer});
        $self->stand_in($request, $now);
        return;
    }

    my $begins = begins($request, $now);

    @$request{qw(state approved_at starts_at expires_at)}
        = ('approved', $now, $begins, $begins + 1000 * $request->{duration});
}

# When a request begins that is approved now.
sub begins {
    my ($request, $now) = @_;

    my $old = $request->{extended};

    return $old && state($old, $now) eq 'approved' ? $old->{expires_at} : $now;
}

sub stand_in {
    my ($self, $request, $now) = @_;

    my $policy = $self->{policies}{ $request->{tenant} } // return;
    my $begins = max(begins($request, $now),
                     $self->needed($request->{tenant}, 'customer') > 1
                         ? $request->{lapses_at} : 0);
    my $given = first { is_preapproved($request, $_, $begins) }
                @{ $policy->{policy}{preapprovals} // [] };

    return if !$given || same_person($policy->{by}, $request->{author});

    push @{ $request->{decisions} }, {
        stage => 'customer', decision => 'approve', at => $now,
        by => { map { $_ => $policy->{by}{$_} } qw(iss sub) },
        preapproval => $given->{name}, policy_version => $policy->{version},
    };
    $request->{version}++;
    $self->advance($request, 'customer', $now);
}

# For a window that begins then, or earlier.
sub is_preapproved {
    my ($request, $given, $begins) = @_;

    my ($day, $hour, $minute, $second)
        = $given->{until} =~ /^(.{10})T(\d\d):(\d\d):(\d\d)Z\z/;
    my ($year, $month, $number) = split /-/, $day;
    my $until = 1000 * timegm_modern($second, $minute, $hour, $number,
                                     $month - 1, $year);
    my $reasons = $given->{reasons} // [ $request->{body}{reason} ];

    return is_part([ $request->{body}{reason} ], $reasons)
        && $request->{duration} <= ($given->{max_duration} // 9**9)
        && $begins + 1000 * $request->{duration} <= $until
        && all { my $item = $_; any { within($item, $_) }
                                    @{ $given->{access} } }
               @{ $request->{access} };
}


# Policies

# Set by the tenant's customers, in place of a version.
sub set_policy {
    my ($self, $person, $tenant, $body) = @_;

    my $roles = $person->{roles};
    my $at_home = ($person->{tenant} // $tenant) eq $tenant;

    return answer('not_found') unless $at_home && %$roles;
    return answer('forbidden_role') unless $roles->{customer};

    my $version = $self->policy_version($tenant);

    return answer('conflict', version => $version)
        if $body->{version} != $version;

    $self->{policies}{$tenant} = { version => $version + 1, by => $person,
                                   policy => $body->{policy} };

    return answer('ok');
}

sub policy_version {
    my ($self, $tenant) = @_;

    return ($self->{policies}{$tenant} // { version => 0 })->{version};
}

sub needed {
    my ($self, $tenant, $stage) = @_;

    return $self->{approvals}{manager} if $stage eq 'manager';

    my $policy = $self->{policies}{$tenant} // { policy => {} };

    return max($self->{manager_only}{$tenant} ? 0
                                              : $self->{approvals}{customer},
               $policy->{policy}{approvals} // 0);
}

# The members that go beyond the policy in force.
sub beyond {
    my ($self, $tenant, $body, $access, $duration) = @_;

    my $policy = ($self->{policies}{$tenant} // { policy => {} })->{policy};
    my @beyond;

    push @beyond, '/duration'
        if $duration > ($policy->{max_duration} // $duration);
    push @beyond, '/reason'
        if !is_part([ $body->{reason} ], $policy->{reasons}
                                         // [ $body->{reason} ]);

    for my $i (0 .. $#$access) {
        my ($service, $labels) = @{ $access->[$i] }{qw(service labels)};

        push @beyond, "/access/$i/service"
            if !is_part([$service], $policy->{services} // [$service]);
        push @beyond, map { "/access/$i/labels/$_" } grep {
            is_part([ $labels->[$_] ], $policy->{labels_never} // [])
        } 0 .. $#$labels;
    }

    return @beyond;
}


# Time

# So much time goes by for an open request; an approved one sees its end.
sub pass {
    my ($self, $request, $minutes, $now) = @_;

    if ($request->{state} eq 'approved') {
        $request->{expires_at} = $now - 1000;
    } elsif (is_open($request)) {
        $request->{$_} -= $minutes * $MINUTE for qw(answer_by lapses_at);
    }
}

# The end that has come by itself is written down.
sub sweep {
    my ($self, $request, $now) = @_;

    my $state = state($request, $now);
    return if $state eq $request->{state};

    $request->{ended_at} = due_at($request);
    $request->{lapsed_stage} = stage_of($request);
    $request->{state} = $state;
    $request->{version}++;
}

sub due_at {
    my ($request) = @_;

    return $request->{state} eq 'approved' ? $request->{expires_at}
         : is_open($request) ? min(@$request{qw(answer_by lapses_at)}) : undef;
}

# What it is for whoever looks now.
sub state {
    my ($request, $now) = @_;

    my $due = due_at($request);

    return $request->{state} if !defined $due || $due > $now;
    return $request->{state} eq 'approved' ? 'expired' : 'lapsed';
}


# Who and when

sub same_person {
    my ($one, $other) = @_;

    return $one->{iss} eq $other->{iss} && $one->{sub} eq $other->{sub};
}

sub sees {
    my ($person, $request) = @_;

    my $roles = $person->{roles};
    my $at_home = ($person->{tenant} // '') eq $request->{tenant};

    return 1 if $roles->{manager} || $roles->{customer} && $at_home;
    return 1 if $roles->{auditor} && (!defined $person->{tenant} || $at_home);
    return $roles->{engineer} && same_person($person, $request->{author});
}

# The stage in which such a person decides.
sub side_of {
    my ($person) = @_;

    return first { $person->{roles}{$_} } qw(manager customer);
}

sub is_open {
    my ($request) = @_;

    return $request->{state} =~ $OPEN;
}

sub stage_of {
    my ($request) = @_;

    return $request->{state} =~ /^awaiting_(.*)/ ? $1 : $request->{asked_by};
}

sub is_time {
    my ($self, $person, $action, $request, $now) = @_;

    my $state = state($request, $now);
    my $stage = stage_of($request) // '';
    my $waits = $state =~ /^awaiting_/;
    my $asked = $state eq 'needs_info';

    return $state eq 'approved' if $action =~ /^(?:complete|grant|revoke)$/;
    return $asked if $action eq 'answer';
    return $waits || $asked if $action eq 'cancel';
    return ($waits || $asked && $action eq 'deny')
           && $person->{roles}{$stage};
}

sub has_approved {
    my ($person, $request) = @_;

    return any { $_->{decision} eq 'approve'
                 && same_person($person, $_->{by}) }
           @{ $request->{decisions} };
}

sub asked {
    my ($request) = @_;

    return scalar grep { $_->{decision} eq 'ask' } @{ $request->{decisions} };
}


# Access

# The members that ask for more than there is to approve.
sub wider {
    my ($request, $body) = @_;

    my $access = $request->{access};
    my $more = any {
        my $item = $_;
        !any { within($item, $_) } @$access;
    } @{ $body->{access} // [] };

    return ($more ? '/access' : (),
            ($body->{duration} // 0) > $request->{duration} ? '/duration' : ());
}

# One item within another one.
sub within {
    my ($inner, $outer) = @_;

    return $inner->{service} eq $outer->{service}
        && is_part($inner->{methods}, $outer->{methods})
        && is_part($inner->{labels}, $outer->{labels})
        && all { my $path = $_; any { covers($_, $path) } @{ $outer->{paths} } }
               @{ $inner->{paths} };
}

sub is_part {
    my ($part, $whole) = @_;

    my %whole = map { $_ => 1 } @$whole;

    return all { $whole{$_} } @$part;
}

sub covers {
    my ($prefix, $path) = @_;

    return 1 if $path eq $prefix;
    return substr($path, 0, length $prefix) eq $prefix
        && ($prefix =~ m{/\z} || substr($path, length $prefix, 1) eq '/');
}

# Whether its grant opens that.
sub opens {
    my ($request, $method, $service, $path) = @_;

    return any {
        $_->{service} eq $service && is_part([$method], $_->{methods})
            && any { covers($_, $path) } @{ $_->{paths} };
    } @{ $request->{access} };
}


# Views

# What the person may do now, in the order of the alphabet.
sub actions {
    my ($self, $person, $request, $now) = @_;

    return grep {
        my $refusal = $self->refusal($person, $_, $request, {}, $now);
        !$refusal || $refusal->{word} eq 'invalid_member';
    } steps();
}

# All that is shown of a request, but for "id" and "actions".
sub view {
    my ($self, $request, $now) = @_;

    my $state = state($request, $now);
    my $body = $request->{body};

    return {
        (map { $_ => $request->{$_} }
             qw(tenant version duration access created_at answer_by lapses_at
                approved_at starts_at expires_at decisions)),
        (map { $_ => $body->{$_} } qw(justification reason ticket extends)),
        state => $state,
        asked_by_stage => $state eq 'needs_info' ? $request->{asked_by}
                                                 : undef,
        ended_at => $state eq $request->{state} ? $request->{ended_at}
                                                : due_at($request),
        engineer => { map { $_ => $request->{author}{$_} } qw(iss sub) },
    };
}

# The end that time has made, as a step of nobody's; undef if there was none.
sub timeout {
    my ($request, $now) = @_;

    my $state = state($request, $now);

    return undef if $state !~ /^(?:lapsed|expired)\z/;
    return { decision => $state, by => undef,
             stage => $state eq 'lapsed' ? $request->{lapsed_stage}
                                           // stage_of($request) : undef };
}

sub encoded {
    my ($value) = @_;

    return JSON::PP->new->canonical->allow_nonref->encode($value);
}


1;
